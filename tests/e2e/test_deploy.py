"""A deployment from the first command to the last, exactly as documented for AWS, but on the local cloud.

It uses a copy of the project, because it edits the SQL script, and the profile `me`, as documented.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from local_cloud.database_gateway import ADMINISTRATOR
from local_cloud.lifecycle import start, start_simulator, stop
from local_cloud.postgres import clusters, make_dsn
from local_cloud.state import LocalState
from tests.aws import client
from tests.documents import DEPLOYED
from tests.e2e.make import ROOT
from tests.local_cloud_support import eventually

pytestmark = pytest.mark.walkthrough

PATIENCE_SECONDS = 90
BRANDS = "select distinct brand from fipe.vehicle_price order by 1"
AWS_V1 = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'
"""Documented for version 1 of the AWS command line, which without it would call AWS itself for SQS."""
OUTPUTS = {
    "AlarmTopicArn",
    "DBEndpoint",
    "DBPort",
    "DBSecretArn",
    "FipeManufacturerLambda",
    *(
        f"{kind}{url}"
        for kind in ("Manufacturer", "Model", "Price", "Announcement")
        for url in ("QueueUrl", "DLQUrl")
    ),
}


def documented(beginning: str) -> str:
    """The shortest command in the README or docs/deploy.md with this beginning, with all its lines."""
    blocks = [
        block
        for document in DEPLOYED
        for block in re.findall(r"```bash\n(.*?)```", document.read_text(), re.DOTALL)
    ]
    found = [
        command
        for block in blocks
        for command in re.split(r"\n(?=\S)(?!done|\})", block.strip())
        if command.startswith(beginning)
    ]
    assert found, f"no document shows a command that begins with {beginning!r}"
    return min(found, key=len)


class Deployment:
    """A copy of the project with a local cloud of its own; it keeps the output of all commands."""

    def __init__(self, folder: Path) -> None:
        self.project = _copy_of_project(folder / "project")
        self.printed = ""
        self.state = LocalState(folder / "local")
        self.endpoint = start(self.state)
        self.simulator = start_simulator(self.endpoint, "")
        (vpc,) = client("ec2", self.endpoint.url).describe_vpcs()["Vpcs"]
        self.vpc_id = str(vpc["VpcId"])
        config = folder / "aws-config"
        config.write_text(
            "[profile me]\nregion = us-east-1\naws_access_key_id = testing\naws_secret_access_key = testing\n"
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MAKE"))}
        self.environment = kept | {
            "FIPE_LOCAL_DIR": str(self.state.root),
            "AWS_ENDPOINT_URL": self.endpoint.url,
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "RDS_CERTIFICATES": "none",
            "COMPILE_LAYERS": "no",
            # The copy shares the project's .venv, in which `fipe` is the project's own, not the copy's.
            "PYTHONPATH": os.pathsep.join([str(self.project / "src"), str(self.project)]),
        }

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a shell command in the project's folder, with its tools on the path."""
        tools = [
            str(self.project / ".venv/bin"),
            *(str(one.psql.parent) for one in clusters(self.state.postgres)[:1]),
        ]
        path = os.pathsep.join([*tools, os.environ["PATH"]])
        ended = subprocess.run(
            ["bash", "-c", f"{AWS_V1}\n{command}"],
            cwd=self.project,
            env=self.environment | {"PATH": path} | {k: v for k, v in variables.items() if v},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        self.printed += ended.stdout + ended.stderr
        return ended

    def succeed(self, command: str) -> str:
        """Runs a command that must succeed; returns what it printed."""
        ended = self.run(command, AWS_PROFILE="me")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def make(self, beginning: str, *settings: str) -> str:
        """Runs a documented make command with an existing VPC, an address and further settings."""
        command = (
            documented(beginning).replace("vpc-0a1b2c3d", self.vpc_id).replace("203.0.113.7", "127.0.0.1")
        )
        return self.succeed(" ".join([command, *settings]))

    def deploy(self, stage: str = "dev") -> str:
        """Deploys as documented, with the simulator and settings that save time."""
        command = documented("make deploy-dev").replace("make deploy-dev", f"make deploy-{stage}")
        command = command.replace("vpc-0a1b2c3d", self.vpc_id).replace("203.0.113.7", "127.0.0.1")
        quick = (
            f"FIPE_API_URL={self.simulator} CALLS_PER_MINUTE=max BATCHING_WINDOW_SECONDS=1"
            " RETRY_DELAY_SECONDS=0 MAX_RECEIVE_COUNT=2 SCHEDULE=on ALARM_EMAIL=me@example.com"
        )
        ended = self.run(f"{command} {quick}")
        if ended.returncode:
            raise DeployFailedError(ended.stdout + ended.stderr)
        return ended.stdout + ended.stderr

    def edit_script(self, end: str) -> None:
        """Gives the SQL script another end."""
        original = (ROOT / "create_fipe_db.sql").read_text()
        (self.project / "create_fipe_db.sql").write_text(f"{original}\n{end}\n")

    def load(self, brand: str, stage: str = "dev") -> None:
        """Starts a load of two brands, Fiat and another, as documented, and waits until it is complete."""
        commands = [documented("echo '{"), documented("aws lambda invoke")]
        self.succeed("\n".join(commands).replace("Acura", brand).replace("-dev", f"-{stage}"))
        assert json.loads((self.project / "out.json").read_text())["brands_sent"] == 2
        complete = "select bool_and(complete) from fipe.load_status"
        eventually(lambda: self.query(complete, stage) == "t", PATIENCE_SECONDS)

    def query(self, sql: str, stage: str = "dev") -> str:
        """Runs psql as documented on the database of a stage; returns its output."""
        functions = [documented("output()"), documented("secret()")]
        command = documented("PGPASSWORD=").replace("select count(*) from fipe.vehicle_price", sql)
        script = "\n".join([*functions, command]).replace("-dev", f"-{stage}")
        return self.succeed(script.replace("psql ", "psql -XAt ", 1)).strip()

    def output(self, name: str, stage: str = "dev") -> str:
        """Reads an output of a stage's stack as documented."""
        return self.succeed(f"{documented('output()')}\noutput {name}".replace("-dev", f"-{stage}")).strip()

    def waiting(self, queue: str) -> int:
        """Messages of all states in a queue, by the name of its output."""
        answer = client("sqs", self.endpoint.url).get_queue_attributes(
            QueueUrl=self.output(queue), AttributeNames=["All"]
        )
        return sum(
            int(value) for name, value in answer["Attributes"].items() if name.startswith("ApproximateNumber")
        )

    def stacks(self) -> list[str]:
        stacks = client("cloudformation", self.endpoint.url).describe_stacks()["Stacks"]
        return [stack["StackName"] for stack in stacks if stack["StackName"].startswith("Fipe")]


class DeployFailedError(Exception):
    """The deploy failed; the text is what it printed."""


def _copy_of_project(folder: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in (".venv", "node_modules", "lambda-layer/build"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deploy")
    deployment = Deployment(folder)
    try:
        yield deployment
    finally:
        stop(deployment.state)


GOOD = "VPC_ID={vpc} ALLOWED_IP=127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        ("ALLOWED_IP=127.0.0.1", {}, "vpc_id is missing: give the VPC for the database"),
        ("VPC_ID={vpc}", {}, "allowed_ip is missing: give the address that may connect to the database"),
        ("VPC_ID=default ALLOWED_IP=127.0.0.1", {}, "invalid vpc_id=default: use the VPC"),
        ("VPC_ID=vpc-0123abcd ALLOWED_IP=127.0.0.1", {}, "vpc_id=vpc-0123abcd does not exist in account"),
        ("VPC_ID={vpc} ALLOWED_IP=home", {}, "invalid allowed_ip=home: not an IPv4 address"),
        ("VPC_ID={vpc} ALLOWED_IP=0.0.0.0/0", {}, "allow_the_world=true"),
        (f"{GOOD} BATCHSIZE=5", {}, "unknown setting batchsize: did you mean batch_size?"),
        (GOOD, {"AWS_PROFILE": "nobody"}, "no AWS credentials"),
        (GOOD, {"AWS_PROFILE": ""}, "no AWS region"),
        (GOOD, {"AWS_PROFILE": "", "AWS_REGION": "us-east-1"}, "no AWS credentials"),
    ],
)
def test_says_in_one_line_what_is_missing_or_wrong_and_creates_nothing(
    here: Deployment, arguments: str, variables: dict[str, str], words: str
) -> None:
    ended = here.run(
        f"make --no-print-directory deploy-dev {arguments.format(vpc=here.vpc_id)}",
        **{"AWS_PROFILE": "me"} | variables,
    )
    assert ended.returncode != 0
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("make: ***")]
    assert words in line
    assert here.stacks() == []


@pytest.fixture(scope="module")
def deployed(here: Deployment) -> Deployment:
    """The stage dev, deployed for the first time."""
    assert "bootstrapped" in here.make("make bootstrap")
    printed = here.deploy()
    shown = set(re.findall(r"^FipeDataStack-dev\.(\w+) = ", printed, re.MULTILINE))
    assert shown == OUTPUTS
    return here


def test_a_load_is_started_and_read_with_psql_and_the_secret(deployed: Deployment) -> None:
    deployed.load("Acura")
    assert deployed.query(BRANDS) == "Acura\nFiat"


def test_a_check_proves_that_every_part_works(deployed: Deployment) -> None:
    shown = deployed.make("make check-dev")
    assert re.findall("^(?!ok ).+", shown, re.MULTILINE) == [
        "warning  topic of the alarms: me@example.com has not confirmed, and gets no message."
        " To do: open the link in AWS's mail (look in spam, too); it is valid for two days"
    ]


def test_a_message_that_cannot_be_read_is_shown_with_its_reason_and_moved_back(deployed: Deployment) -> None:
    poison = '{"kind": "poison"}'
    deployed.succeed(
        f"aws sqs send-message --queue-url {deployed.output('ModelQueueUrl')} --message-body '{poison}'"
    )
    eventually(lambda: deployed.waiting("ModelDLQUrl") == 1, PATIENCE_SECONDS)
    shown = deployed.make("make redrive-dev QUEUE=model DRY_RUN=1")
    assert "fipe-model-dlq-dev: 1 message" in shown
    assert "ValidationError" in shown
    assert deployed.waiting("ModelDLQUrl") == 1
    assert "1 moved back" in deployed.make("make redrive-dev QUEUE=model")
    # The message still cannot be read.
    eventually(lambda: deployed.waiting("ModelDLQUrl") == 1, PATIENCE_SECONDS)


def test_the_documented_shell_loop_moves_messages_back_as_well(deployed: Deployment) -> None:
    deployed.succeed(
        f"{documented('output()')}\n{documented('QUEUE_URL=')}\n{documented('while IFS=')}"
        .replace("PriceQueueUrl", "ManufacturerQueueUrl").replace("PriceDLQUrl", "ModelDLQUrl")
    )  # fmt: skip
    eventually(lambda: deployed.waiting("ManufacturerDLQUrl") == 1)
    assert deployed.waiting("ModelDLQUrl") == 0


def test_the_logs_of_all_functions_are_shown_in_one(deployed: Deployment) -> None:
    shown = deployed.succeed("make logs-dev")
    assert "INFO    FipeManufacturerLoader: load started" in shown
    assert "INFO    FipeSomaIngestor: prices written" in shown
    assert "DEBUG" not in shown
    assert "poison" in deployed.succeed("make logs-dev LEVEL=WARNING FUNCTION=FipePriceLoader")


def test_alarms_the_dashboard_and_the_schedule_are_there(deployed: Deployment) -> None:
    alarms = client("cloudwatch", deployed.endpoint.url).describe_alarms()["MetricAlarms"]
    assert len([alarm for alarm in alarms if alarm["AlarmName"].endswith("-dev")]) == 24
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {
        deployed.output("AlarmTopicArn")
    }
    (subscription,) = client("sns", deployed.endpoint.url).list_subscriptions()["Subscriptions"]
    assert subscription["Endpoint"] == "me@example.com"
    schedule = client("scheduler", deployed.endpoint.url).get_schedule(Name="fipe-load-dev")
    assert schedule["ScheduleExpression"] == "cron(0 9 1-10 * ? *)"


def test_a_second_deploy_without_a_change_changes_nothing(deployed: Deployment) -> None:
    assert "(no changes)" in deployed.deploy()


def test_an_edited_script_runs_again_and_a_bad_one_fails_with_its_error_and_is_undone(
    deployed: Deployment,
) -> None:
    deployed.edit_script("create table if not exists fipe.made_by_an_edit (id integer);")
    deployed.deploy()
    assert deployed.query("select to_regclass('fipe.made_by_an_edit')") == "fipe.made_by_an_edit"
    deployed.edit_script("create table fipe.half_done (id integer);\nselect nonsense from fipe.nowhere;")
    with pytest.raises(DeployFailedError, match=r'relation "fipe\.nowhere" does not exist'):
        deployed.deploy()
    stack_events = client("cloudformation", deployed.endpoint.url).describe_stack_events(
        StackName="FipeDataStack-dev"
    )["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in stack_events]
    assert any('relation "fipe.nowhere" does not exist' in reason for reason in reasons)
    assert deployed.query("select to_regclass('fipe.half_done')") == ""
    deployed.edit_script("")
    deployed.deploy()


def test_the_master_password_is_changed_as_documented(deployed: Deployment) -> None:
    before = deployed.query("select 'in'")
    beginnings = ("output()", "secret()", "NEW=", "NEW_SECRET=", "aws rds modify", "aws secretsmanager put")
    deployed.succeed("\n".join(documented(beginning) for beginning in beginnings))
    assert deployed.query("select 'in'") == before == "in"
    deployed.edit_script("-- run again with the new password")
    deployed.deploy()


def test_a_master_user_whose_password_the_database_refuses_signs_in_with_tokens(deployed: Deployment) -> None:
    """Aurora does this to members of rds_iam, direct or indirect; the master user cannot undo it."""
    (cluster,) = (one for one in clusters(deployed.state.postgres) if "-dev-" in one.name)
    rds = psycopg2.connect(make_dsn(cluster.socket_environment(ADMINISTRATOR, "fipedata")))
    rds.autocommit = True
    with closing(rds), rds.cursor() as cursor:
        cursor.execute("grant fipe_ingestor to postgres with admin true, inherit false, set false")
        try:
            with pytest.raises(AssertionError, match="PAM authentication failed"):
                deployed.query("select 1")
            shown = deployed.succeed("fipe --stage dev psql -XAtc 'select current_user'")
            assert shown.strip() == "postgres"
            deployed.edit_script("create table if not exists fipe.made_with_a_token ();")
            deployed.deploy()
            deployed.edit_script("select nonsense from fipe.nowhere;")
            with pytest.raises(DeployFailedError, match=r'relation "fipe\.nowhere" does not exist'):
                deployed.deploy()
        finally:
            cursor.execute("revoke fipe_ingestor from postgres")
    assert deployed.query("select to_regclass('fipe.made_with_a_token')") == "fipe.made_with_a_token"
    deployed.edit_script("")
    deployed.deploy()


def test_two_stages_live_in_one_vpc(deployed: Deployment) -> None:
    deployed.deploy("stg")
    assert deployed.output("DBPort", "stg") != deployed.output("DBPort")
    assert deployed.output("PriceQueueUrl", "stg") != deployed.output("PriceQueueUrl")
    deployed.load("BYD", "stg")
    assert deployed.query(BRANDS, "stg") == "BYD\nFiat"
    assert deployed.query(BRANDS) == "Acura\nFiat"


def test_no_log_no_template_and_nothing_printed_holds_a_password(deployed: Deployment) -> None:
    secrets, cloudformation = (
        client(name, deployed.endpoint.url) for name in ("secretsmanager", "cloudformation")
    )
    passwords = [
        json.loads(secrets.get_secret_value(SecretId=secret["ARN"])["SecretString"])["password"]
        for secret in secrets.list_secrets()["SecretList"]
    ]
    assert len(passwords) == 2
    stacks = cloudformation.describe_stacks()["Stacks"]
    texts = {
        "printed": deployed.printed,
        **{
            f"template of {stack['StackName']}": json.dumps(
                cloudformation.get_template(StackName=stack["StackId"])["TemplateBody"]
            )
            for stack in stacks
        },
        **{
            str(path): path.read_text(errors="replace")
            for folder in (deployed.state.logs, deployed.project / "cdk.out")
            for path in folder.rglob("*")
            if path.is_file() and path.suffix in {".json", ".log", ".out"}
        },
    }
    assert len(texts) > 10
    assert [name for name, text in texts.items() for password in passwords if password in text] == []


def test_stages_are_removed_without_a_trace_each_alone(deployed: Deployment) -> None:
    printed = deployed.make("make destroy-dev", "CONFIRM=1")
    assert "This deletes FipeDataStack-dev in account 123456789012, us-east-1:" in printed
    assert re.search(r"^- the database \S+, with \d+ prices of \d+ months?$", printed, re.MULTILINE)
    assert "FipeDataStack-dev in account 123456789012, us-east-1 is gone" in printed
    assert {name.partition("-")[2][:3] for name in deployed.stacks()} == {"stg"}
    refused = deployed.run("make --no-print-directory destroy-stg", AWS_PROFILE="me")
    assert "not confirmed: to delete FipeDataStack-stg in account" in refused.stderr
    assert {name.partition("-")[2][:3] for name in deployed.stacks()} == {"stg"}
    deployed.succeed("make destroy-stg CONFIRM=1")
    assert deployed.stacks() == []
    left = {
        "queues": client("sqs", deployed.endpoint.url).list_queues().get("QueueUrls", []),
        "functions": client("lambda", deployed.endpoint.url).list_functions()["Functions"],
        "alarms": client("cloudwatch", deployed.endpoint.url).describe_alarms()["MetricAlarms"],
        "schedules": client("scheduler", deployed.endpoint.url).list_schedules()["Schedules"],
        "clusters": client("rds", deployed.endpoint.url).describe_db_clusters()["DBClusters"],
        "logs": client("logs", deployed.endpoint.url).describe_log_groups()["logGroups"],
    }
    assert left == {name: [] for name in left}


def test_a_stage_that_does_not_exist_is_reported_in_one_line(deployed: Deployment) -> None:
    ended = deployed.run("make --no-print-directory destroy-prd", AWS_PROFILE="me")
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("make: ***")]
    assert line == "error: there is no stack FipeDataStack-prd in us-east-1"
