"""The Aurora PostgreSQL cluster, its secret, and who may connect to it."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

from aws_cdk import Annotations, CfnDeletionPolicy, Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infrastructure import names
from infrastructure.findings import acknowledge
from infrastructure.functions import FunctionNetwork
from infrastructure.paths import RDS_CERTIFICATES
from stage_settings import SettingsError, StageSettings

PORT = ec2.Port.POSTGRES

VERIFY_FULL = "verify-full"

TIGHT_ACU = 0.5
"""1 GiB of memory. IAM sign-in takes 300 to 1000 MiB (Aurora user guide, "IAM database authentication")."""

ZONES_OF_AURORA = 2
"""Aurora needs subnets in at least two availability zones."""

_LOCAL_ZONE = re.compile(r"-\d+-")
"""In the name of a Local Zone, such as us-east-1-bos-1a, or of a Wavelength Zone. Aurora runs in neither."""


class Database(Construct):
    """An Aurora cluster with one writer, in an existing VPC.

    Raises:
        SettingsError: the VPC has no suitable subnets.

    Attributes:
        cluster: the cluster.
        network: where the functions run that need the database.
        tls_variables: libpq's TLS variables for those functions.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: StageSettings) -> None:
        super().__init__(scope, construct_id)
        vpc = ec2.Vpc.from_lookup(self, "Vpc", vpc_id=settings.vpc_id)
        kind, subnets = choose_subnets(vpc, settings)
        is_public = kind == "public"
        if is_public and self.node.try_get_context(names.NO_DNS_HOSTNAMES) == settings.vpc_id:
            raise SettingsError([_how_to_give_host_names(settings.vpc_id)])
        self.tls_variables = tls_variables(settings)
        for name, text in _warnings(settings, kind, self.tls_variables):
            Annotations.of(self).add_warning_v2(f"fipe:{name}", text)
        security_group = self._build_security_group(vpc, settings)
        self.network = FunctionNetwork(
            vpc, subnets, self._build_functions_security_group(vpc, security_group)
        )
        self.cluster = self._build_cluster(vpc, subnets, security_group, settings, is_public=is_public)
        self._acknowledge_findings(settings)

    @property
    def secret(self) -> secretsmanager.ISecret:
        """The master user's secret: user, password, host, port and name of the database, as JSON."""
        secret = self.cluster.secret
        assert secret is not None, "a cluster with generated credentials has a secret"
        return secret

    def _acknowledge_findings(self, settings: StageSettings) -> None:
        acknowledge(
            self.cluster,
            "CloudFormation-Validate::E9006",
            "The CDK's list of Aurora's versions is older than the one in stage_settings.py, which refuses"
            " versions that do not exist.",
        )
        acknowledge(
            self.cluster,
            "CloudFormation-Validate::W9011",
            "Public only in public subnets, so that psql works from the allowed address; the security group"
            " lets in no other.",
        )
        acknowledge(
            self.cluster,
            "AwsSolutions::AwsSolutions-SMG4",
            "Only people and the SQL script of a deploy use the password; the pipeline signs in with IAM"
            " tokens. A rotation function would need a NAT gateway or a VPC endpoint to reach Secrets"
            " Manager, and nothing else needs one. docs/deploy.md says how to change the password.",
        )
        if not settings.keeps_data:
            acknowledge(
                self.cluster,
                "AwsSolutions::AwsSolutions-RDS10",
                "On purpose: this stage can be removed completely, because its data is public and can be"
                " loaded again. prd is protected.",
            )

    def _build_security_group(self, vpc: ec2.IVpc, settings: StageSettings) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self, "SecurityGroup", vpc=vpc, description="The FIPE database", allow_all_outbound=False
        )
        group.add_ingress_rule(ec2.Peer.ipv4(settings.allowed_ip), PORT, "psql from the allowed address")
        return group

    def _build_functions_security_group(
        self, vpc: ec2.IVpc, database_group: ec2.SecurityGroup
    ) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self,
            "FunctionsSecurityGroup",
            vpc=vpc,
            description="The functions that connect to the FIPE database",
            allow_all_outbound=False,
        )
        group.connections.allow_to(database_group, PORT, "Functions to the database")
        return group

    def _build_cluster(
        self,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        security_group: ec2.SecurityGroup,
        settings: StageSettings,
        *,
        is_public: bool,
    ) -> rds.DatabaseCluster:
        major = settings.engine_version.partition(".")[0]
        cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            engine=rds.DatabaseClusterEngine.aurora_postgres(
                version=rds.AuroraPostgresEngineVersion.of(settings.engine_version, major)
            ),
            writer=_writer(settings, is_public=is_public),
            **_capacity(settings),
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=[security_group],
            default_database_name=settings.database_name,
            credentials=rds.Credentials.from_generated_secret(settings.database_user),
            iam_authentication=True,
            storage_encrypted=True,
            parameters={"rds.force_ssl": "1"},
            backup=rds.BackupProps(retention=Duration.days(settings.backup_days)),
            deletion_protection=settings.keeps_data,
            removal_policy=RemovalPolicy.SNAPSHOT if settings.keeps_data else RemovalPolicy.DESTROY,
        )
        # Changing database_name replaces the cluster; keep a snapshot of the old one in case the option was
        # forgotten.
        resource = cluster.node.default_child
        assert isinstance(resource, rds.CfnDBCluster)
        resource.cfn_options.update_replace_policy = CfnDeletionPolicy.SNAPSHOT
        return cluster


def _warnings(settings: StageSettings, kind: str, tls: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What to think about before deploying these settings: the name of each warning, and its text."""
    if kind != "public" and IPv4Network(settings.allowed_ip).is_global:
        yield (
            "allowed-ip-has-no-way-in",
            f"The database is in {kind} subnets, so {settings.allowed_ip} can connect only from inside"
            " the VPC (over a VPN or a bastion host). To connect from outside, deploy a new stage with"
            " DATABASE_SUBNETS=public; the VPC needs public subnets for that.",
        )
    if settings.allow_the_world:
        yield (
            "open-to-the-world",
            f"{settings.allowed_ip} may connect to the database: only TLS and the password protect it.",
        )
    if settings.allow_the_world and settings.pauses:
        yield (
            "the-world-wakes-the-database",
            "The database pauses when nobody is connected, but every stranger who tries a password wakes it,"
            " and then you pay for it. Give an ALLOWED_IP of your own, or use db.t3.medium.",
        )
    if settings.is_serverless and settings.serverless_min_acu <= TIGHT_ACU:
        yield (
            "little-memory-for-iam",
            f"At {TIGHT_ACU} ACU the database has 1 GiB of memory, and signing in with IAM tokens takes 300"
            " to 1000 MiB of it. The functions try again when a sign-in is refused. If make logs shows many"
            " refused sign-ins, use SERVERLESS_MIN_ACU=1.",
        )
    if settings.keeps_data and tls["PGSSLMODE"] != VERIFY_FULL:
        yield (
            "certificate-not-checked",
            "The functions encrypt their connections, but do not check the database's certificate: the"
            " layer has no RDS certificates. Run ./create_fipe_api_layer.sh with internet access.",
        )


def _how_to_give_host_names(vpc_id: str) -> str:
    return (
        f"invalid vpc_id={vpc_id}: the database would be in public subnets, and RDS refuses a public database"
        " in a VPC without DNS hostnames; run `aws ec2 modify-vpc-attribute --vpc-id"
        f" {vpc_id} --enable-dns-hostnames`, or use a VPC with private or isolated subnets"
    )


def tls_variables(settings: StageSettings) -> dict[str, str]:
    """Sets PGSSLMODE, and PGSSLROOTCERT if certificates are checked.

    Raises:
        SettingsError: certificates must be checked, but the layer has no RDS certificates.
    """
    mode = settings.database_tls
    if mode == VERIFY_FULL and not RDS_CERTIFICATES.is_file():
        raise SettingsError(
            [
                "invalid database_tls=verify-full: the layer has no RDS certificates; fetch them with"
                " ./create_fipe_api_layer.sh, or use database_tls=require"
            ]
        )
    if mode == "require" or not RDS_CERTIFICATES.is_file():
        return {"PGSSLMODE": "require"}
    return {"PGSSLMODE": VERIFY_FULL, "PGSSLROOTCERT": f"/opt/{RDS_CERTIFICATES.name}"}


def _writer(settings: StageSettings, *, is_public: bool) -> rds.IClusterInstance:
    # Otherwise the deploy after an automatic upgrade would ask for a downgrade, which AWS refuses.
    common: Any = {"publicly_accessible": is_public, "auto_minor_version_upgrade": False}
    if settings.is_serverless:
        return rds.ClusterInstance.serverless_v2("Writer", **common)
    return rds.ClusterInstance.provisioned(
        "Writer", instance_type=ec2.InstanceType(settings.instance_class.removeprefix("db.")), **common
    )


def _capacity(settings: StageSettings) -> dict[str, Any]:
    """Limits a serverless cluster's capacity. With a minimum of 0 it pauses; then only storage costs."""
    if not settings.is_serverless:
        return {}
    capacity: dict[str, Any] = {
        "serverless_v2_min_capacity": settings.serverless_min_acu,
        "serverless_v2_max_capacity": settings.serverless_max_acu,
    }
    if settings.pauses:
        capacity["serverless_v2_auto_pause_duration"] = Duration.minutes(settings.serverless_pause_minutes)
    return capacity


def choose_subnets(vpc: ec2.IVpc, settings: StageSettings) -> tuple[str, ec2.SubnetSelection]:
    """Chooses the kind of subnet for the database, and the subnets.

    It takes the most closed kind that covers enough availability zones: isolated subnets have no way out,
    and the database needs none; private subnets have a NAT gateway, which stays unused; public subnets are
    the only ones that psql can reach from outside the VPC, where the security group protects the database.

    Raises:
        SettingsError: neither the kind asked for nor any other covers enough availability zones.
    """
    kinds = {"isolated": vpc.isolated_subnets, "private": vpc.private_subnets, "public": vpc.public_subnets}
    excluded = settings.excluded_zones.split(",")
    for kind, subnets in kinds.items():
        usable = [
            subnet
            for subnet in subnets
            if not _LOCAL_ZONE.search(subnet.availability_zone) and subnet.availability_zone not in excluded
        ]
        zones = {subnet.availability_zone for subnet in usable}
        if settings.database_subnets in ("auto", kind) and len(zones) >= ZONES_OF_AURORA:
            return kind, ec2.SubnetSelection(subnets=usable)
    wanted = "one kind" if settings.database_subnets == "auto" else f"kind {settings.database_subnets}"
    raise SettingsError(
        [
            f"invalid vpc_id={settings.vpc_id}: Aurora needs subnets of {wanted} in {ZONES_OF_AURORA}"
            " availability zones (a Local Zone is none); add a subnet or use another VPC"
        ]
    )
