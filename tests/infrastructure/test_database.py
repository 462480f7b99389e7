"""The database: what it is, how it is protected, and who reaches it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from infrastructure.names import NO_DNS_HOSTNAMES
from infrastructure.paths import SQL_SCRIPT
from stage_settings import SettingsError
from tests.infrastructure.synthesis import (
    REGION,
    VPC_ID,
    Stacks,
    stage,
    statements_allowing,
    synthesize,
    vpc,
)

STAGES = ["dev", "stg", "prd"]
ALL_KINDS = vpc(Public=2, Private=2, Isolated=2)


@pytest.fixture(scope="module", params=STAGES)
def stacks(request: pytest.FixtureRequest) -> Stacks:
    return stage(request.param)


def test_is_aurora_postgresql_with_backups_encryption_and_iam_authentication(stacks: Stacks):
    cluster = stacks.only("AWS::RDS::DBCluster")
    assert cluster["Engine"] == "aurora-postgresql"
    assert cluster["EngineVersion"] == "17.11"
    assert cluster["DatabaseName"] == "fipedata"
    assert cluster["MasterUsername"] == "postgres"
    assert cluster["BackupRetentionPeriod"] == 7
    assert cluster["StorageEncrypted"] is True
    assert cluster["EnableIAMDatabaseAuthentication"] is True


def test_takes_no_connection_without_tls(stacks: Stacks):
    assert stacks.only("AWS::RDS::DBClusterParameterGroup")["Parameters"]["rds.force_ssl"] == "1"


def test_has_one_writer_that_is_not_upgraded_behind_our_back(stacks: Stacks):
    instance = stacks.only("AWS::RDS::DBInstance")
    assert instance["DBInstanceClass"] == "db.t3.medium"
    assert instance["AutoMinorVersionUpgrade"] is False


def test_a_serverless_one_pauses_when_it_is_idle():
    stacks = synthesize(instance_class="db.serverless")
    assert stacks.only("AWS::RDS::DBInstance")["DBInstanceClass"] == "db.serverless"
    capacity = stacks.only("AWS::RDS::DBCluster")["ServerlessV2ScalingConfiguration"]
    assert capacity == {"MinCapacity": 0, "MaxCapacity": 4, "SecondsUntilAutoPause": 300}


def test_a_serverless_one_with_a_least_capacity_never_pauses():
    stacks = synthesize(instance_class="db.serverless", serverless_min_acu="0.5", serverless_max_acu="8")
    capacity = stacks.only("AWS::RDS::DBCluster")["ServerlessV2ScalingConfiguration"]
    assert capacity == {"MinCapacity": 0.5, "MaxCapacity": 8}


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the layer's certificates are to be; not there yet."""
    file = tmp_path / "rds-certificates.pem"
    monkeypatch.setattr("infrastructure.database.RDS_CERTIFICATES", file)
    return file


def tls_of_functions(stacks: Stacks) -> list[dict[str, str]]:
    """libpq's variables of the functions that work with the database."""
    return [
        {
            name: value
            for name, value in function["Environment"]["Variables"].items()
            if name.startswith("PGSSL")
        }
        for function in stacks.by_name("AWS::Lambda::Function", "FunctionName").values()
        if "VpcConfig" in function
    ]


def test_functions_check_its_certificate_when_the_layer_has_those_of_rds(certificates: Path):
    certificates.write_text("certificates")
    checked = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/opt/rds-certificates.pem"}
    assert tls_of_functions(synthesize()) == [checked] * 3
    assert synthesize(stage="prd").warnings() == []
    encrypted = {"PGSSLMODE": "require"}
    assert tls_of_functions(synthesize(database_tls="require")) == [encrypted] * 3


@pytest.mark.usefixtures("certificates")
def test_functions_only_encrypt_when_the_layer_has_no_certificates_and_says_so():
    encrypted = {"PGSSLMODE": "require"}
    assert tls_of_functions(synthesize()) == [encrypted] * 3
    (warning,) = synthesize(stage="prd").warnings()
    assert "do not check the database's certificate" in warning
    with pytest.raises(SettingsError, match="invalid database_tls=verify-full: the layer has no"):
        synthesize(database_tls="verify-full")


def test_warns_when_the_world_may_reach_it():
    stacks = synthesize(allowed_ip="0.0.0.0/0", allow_the_world="true")
    groups = stacks.by_name("AWS::EC2::SecurityGroup", "GroupDescription")
    assert groups["The FIPE database"]["SecurityGroupIngress"][0]["CidrIp"] == "0.0.0.0/0"
    (warning,) = stacks.warnings()
    assert "0.0.0.0/0 may connect to the database" in warning


def test_warns_when_strangers_may_wake_it():
    world = {"allowed_ip": "0.0.0.0/0", "allow_the_world": "true", "instance_class": "db.serverless"}
    assert any("every stranger" in warning for warning in synthesize(**world).warnings())
    awake = synthesize(**world, serverless_min_acu="1").warnings()
    assert not any("every stranger" in warning for warning in awake)


@pytest.mark.parametrize(("least", "warned"), [("0", True), ("0.5", True), ("1", False)])
def test_warns_when_it_has_little_memory_for_signing_in_with_tokens(least: str, warned: bool):
    warnings = synthesize(instance_class="db.serverless", serverless_min_acu=least).warnings()
    assert [("300 to 1000 MiB" in warning) for warning in warnings] == [True] * warned


def test_its_password_is_in_no_template(stacks: Stacks):
    password = stacks.only("AWS::RDS::DBCluster")["MasterUserPassword"]
    assert password["Fn::Join"][1][0] == "{{resolve:secretsmanager:"
    assert (
        stacks.only("AWS::SecretsManager::Secret")["GenerateSecretString"]["GenerateStringKey"] == "password"
    )
    assert stacks.only("AWS::SecretsManager::SecretTargetAttachment")["TargetType"] == "AWS::RDS::DBCluster"


def test_dashboards_get_a_password_only_if_asked_for():
    stacks = synthesize(reader_login="on")
    (secret_id,) = (
        name
        for name, resource in stacks.resources("AWS::SecretsManager::Secret").items()
        if "fipe_dashboard" in json.dumps(resource)
    )
    secret = stacks.resources()[secret_id]["Properties"]["GenerateSecretString"]
    assert (secret["GenerateStringKey"], secret["PasswordLength"]) == ("password", 30)
    (contents,) = stacks.resources("Custom::FipeDatabase").values()
    assert contents["Properties"]["DashboardLogin"] == {"Ref": secret_id}
    functions = stacks.by_name("AWS::Lambda::Function", "FunctionName")
    variable = "DASHBOARD_SECRET_ARN"
    assert [name for name, one in functions.items() if variable in str(one.get("Environment"))] == [
        "FipeSqlInit-dev"
    ]
    allowed = list(statements_allowing(stacks.statements("FipeSqlInit-dev")))
    assert {action for action, resource in allowed if resource == {"Ref": secret_id}} == {
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue",
    }
    (default,) = stage("dev").resources("Custom::FipeDatabase").values()
    assert default["Properties"]["DashboardLogin"] == "off"


def test_only_the_allowed_address_and_the_functions_reach_it(stacks: Stacks):
    groups = stacks.by_name("AWS::EC2::SecurityGroup", "GroupDescription")
    (from_outside,) = groups["The FIPE database"]["SecurityGroupIngress"]
    assert (from_outside["CidrIp"], from_outside["FromPort"], from_outside["ToPort"]) == (
        "203.0.113.7/32",
        5432,
        5432,
    )
    from_functions = stacks.only("AWS::EC2::SecurityGroupIngress")
    assert (from_functions["FromPort"], from_functions["ToPort"]) == (5432, 5432)
    functions = stacks.logical_id(
        "AWS::EC2::SecurityGroup", "GroupDescription", "The functions that connect to the FIPE database"
    )
    assert from_functions["SourceSecurityGroupId"] == {"Fn::GetAtt": [functions, "GroupId"]}


def test_the_functions_reach_nothing_but_the_database(stacks: Stacks):
    groups = stacks.by_name("AWS::EC2::SecurityGroup", "GroupDescription")
    assert "SecurityGroupEgress" not in groups["The functions that connect to the FIPE database"]
    egress = stacks.only("AWS::EC2::SecurityGroupEgress")
    database = stacks.logical_id("AWS::EC2::SecurityGroup", "GroupDescription", "The FIPE database")
    assert egress["DestinationSecurityGroupId"] == {"Fn::GetAtt": [database, "GroupId"]}
    assert (egress["FromPort"], egress["ToPort"]) == (5432, 5432)


@pytest.mark.parametrize("name", ["dev", "stg"])
def test_other_stages_can_be_removed_without_a_trace(name: str):
    (cluster,) = stage(name).resources("AWS::RDS::DBCluster").values()
    assert cluster["DeletionPolicy"] == "Delete"
    assert cluster["Properties"]["DeletionProtection"] is False
    assert stage(name).parent_stack.termination_protection is False


@pytest.mark.parametrize("name", ["dev", "stg", "prd"])
def test_a_cluster_that_another_name_replaces_leaves_a_snapshot_and_the_new_one_gets_the_schema(name: str):
    ((cluster, properties),) = stage(name).resources("AWS::RDS::DBCluster").items()
    assert properties["UpdateReplacePolicy"] == "Snapshot"
    contents = stage(name).only("Custom::FipeDatabase")
    assert contents["Cluster"] == {"Fn::GetAtt": [cluster, "DBClusterResourceId"]}


def test_production_is_protected_and_leaves_a_snapshot():
    (cluster,) = stage("prd").resources("AWS::RDS::DBCluster").values()
    assert cluster["DeletionPolicy"] == "Snapshot"
    assert cluster["UpdateReplacePolicy"] == "Snapshot"
    assert cluster["Properties"]["DeletionProtection"] is True
    assert stage("prd").parent_stack.termination_protection is True


def subnets(stacks: Stacks) -> set[str]:
    """The kind of subnets that the database and its functions run in."""
    places = [stacks.only("AWS::RDS::DBSubnetGroup")["SubnetIds"]]
    for function in stacks.by_name("AWS::Lambda::Function", "FunctionName").values():
        if "VpcConfig" in function:
            places.append(function["VpcConfig"]["SubnetIds"])
    assert len(places) == 1 + 3  # the database and its three functions
    assert all(place == places[0] for place in places)
    return {subnet.removeprefix("subnet-").rstrip("0123456789") for subnet in places[0]}


@pytest.mark.parametrize(
    ("found", "kind", "is_public"),
    [
        (vpc(Public=3), "public", True),
        (vpc(Public=2, Private=2), "private", False),
        (ALL_KINDS, "isolated", False),
        (vpc(Isolated=2), "isolated", False),
        (vpc(Public=2, Isolated=1), "public", True),
    ],
    ids=["public only", "private with NAT", "all kinds", "isolated only", "isolated in one zone only"],
)
def test_uses_the_most_closed_subnets_of_two_zones(found, kind: str, is_public: bool):
    stacks = synthesize(found)
    assert subnets(stacks) == {kind}
    assert stacks.only("AWS::RDS::DBInstance")["PubliclyAccessible"] is is_public


def test_a_public_database_needs_a_vpc_that_gives_host_names():
    without_names = {NO_DNS_HOSTNAMES: VPC_ID}
    with pytest.raises(SettingsError, match=f"--vpc-id {VPC_ID} --enable-dns-hostnames"):
        synthesize(vpc(Public=2), **without_names)
    assert subnets(synthesize(vpc(Public=2, Private=2), **without_names)) == {"private"}


def test_uses_public_subnets_when_asked_to():
    stacks = synthesize(ALL_KINDS, database_subnets="public")
    assert subnets(stacks) == {"public"}
    assert stacks.only("AWS::RDS::DBInstance")["PubliclyAccessible"] is True


def test_warns_that_an_outside_address_does_not_reach_a_closed_subnet():
    (warning,) = synthesize(ALL_KINDS, allowed_ip="8.8.8.8").warnings()
    assert "isolated subnets, so 8.8.8.8/32 can connect only from inside the VPC" in warning
    assert "DATABASE_SUBNETS=public" in warning
    assert synthesize(ALL_KINDS, allowed_ip="10.0.0.0/16").warnings() == []
    assert synthesize(vpc(Public=2), allowed_ip="8.8.8.8").warnings() == []


@pytest.mark.parametrize(
    ("found", "settings"),
    [
        (vpc(Public=1, Private=1, Isolated=1), {}),
        (vpc(), {}),
        (vpc(Public=2), {"database_subnets": "isolated"}),
        (vpc(Public=2), {"excluded_zones": f"{REGION}b"}),
    ],
    ids=["one zone", "no subnets", "none of the kind asked for", "a zone excluded"],
)
def test_a_vpc_without_subnets_in_two_zones_is_refused(found, settings: dict[str, str]):
    with pytest.raises(SettingsError, match=r"availability zones .*; add a subnet or use another VPC"):
        synthesize(found, **settings)


def with_local_zone(found: dict[str, Any], place: str) -> dict[str, Any]:
    """A VPC whose last subnet is in a Local Zone or Wavelength Zone."""
    changed = copy.deepcopy(found)
    changed["subnetGroups"][0]["subnets"][-1]["availabilityZone"] = f"{REGION}-{place}"
    return changed


@pytest.mark.parametrize("place", ["bos-1a", "wl1-bos-wlz-1"])
def test_a_local_zone_is_no_availability_zone(place: str):
    ids = synthesize(with_local_zone(vpc(Public=3), place)).only("AWS::RDS::DBSubnetGroup")["SubnetIds"]
    assert ids == ["subnet-public0", "subnet-public1"]
    with pytest.raises(SettingsError, match=r"2 availability zones \(a Local Zone is none\)"):
        synthesize(with_local_zone(vpc(Public=2), place))


def test_keeps_out_of_excluded_zones():
    ids = synthesize(excluded_zones=f"{REGION}a").only("AWS::RDS::DBSubnetGroup")["SubnetIds"]
    assert ids == ["subnet-public1", "subnet-public2"]


def test_the_script_runs_once_the_writer_and_the_way_to_it_are_there(stacks: Stacks):
    (contents,) = stacks.resources("Custom::FipeDatabase").values()
    for kind in ("AWS::RDS::DBInstance", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"):
        (needed,) = stacks.resources(kind)
        assert needed in contents["DependsOn"]


def test_the_script_runs_again_when_it_changes(stacks: Stacks, monkeypatch: pytest.MonkeyPatch, tmp_path):
    changed = tmp_path / SQL_SCRIPT.name
    changed.write_text(SQL_SCRIPT.read_text() + "-- another line\n")
    monkeypatch.setattr("infrastructure.sql_init.SQL_SCRIPT", changed)
    before = stacks.only("Custom::FipeDatabase")["ScriptSha256"]
    assert synthesize().only("Custom::FipeDatabase")["ScriptSha256"] != before


def test_a_script_that_hangs_fails_the_deploy_within_ten_minutes_and_with_its_reason(stacks: Stacks):
    functions = stacks.by_name("AWS::Lambda::Function", "FunctionName")
    (runner,) = (timeout(functions, name) for name in functions if name.startswith("FipeSqlRunner-"))
    (init,) = (timeout(functions, name) for name in functions if name.startswith("FipeSqlInit-"))
    service = int(stacks.only("Custom::FipeDatabase")["ServiceTimeout"])
    assert runner < init < service < 600


def timeout(functions: dict[str, dict[str, int]], name: str) -> int:
    return functions[name]["Timeout"]


def test_the_work_is_changed_after_the_schema(stacks: Stacks):
    (child,) = stacks.resources("AWS::CloudFormation::Stack").values()
    (contents,) = stacks.resources("Custom::FipeDatabase")
    assert contents in child["DependsOn"]
