"""The application, as the CDK deploys it, on MiniStack: IAM denies, and the schedule fires.

The local cloud shows neither: moto lets every call through and fires no schedule. The tests share one
deployment and run in their order: the later ones change it.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fipe_simulator import SAMPLE_CATALOGUE, CatalogueRow, FipeSimulator, read_catalogue
from tests.guard import FolderGuard
from tests.local_cloud_support import eventually
from tests.real_month import REAL_MONTH, needs_real_month
from tests.second_cloud.cloud import ACCOUNT, PYTHON, REGION, SHIM, Denial, SecondCloud, second_cloud, without

pytestmark = [
    pytest.mark.second_cloud,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="MiniStack is not installed: run `make test-second-cloud`"
    ),
]

LOADERS = ("FipeManufacturerLoader", "FipeModelLoader", "FipePriceLoader")
FUNCTIONS = (
    *LOADERS, "FipeSomaIngestor", "FipeLoadStatus", "FipeAnnouncer", "FipeSqlRunner", "FipeSqlInit",
)  # fmt: skip
INVALID = ("InvalidMessageContents", "InvalidParameterValue", "ValidationException")
PLACE = f"{REGION}:{ACCOUNT}"
ALLOWED = {
    "FipeManufacturerLoader": {
        "send to manufacturer",
        "send to price",
        "send to announcement",
        "pace",
        "invoke FipeLoadStatus",
        "invoke FipeSomaIngestor",
    },
    "FipeModelLoader": {
        "send to manufacturer",
        "send to model",
        "send to price",
        "send to announcement",
        "receive from manufacturer",
        "pace",
        "invoke FipeLoadStatus",
    },
    "FipePriceLoader": {
        "send to model",
        "send to price",
        "receive from model",
        "pace",
        "invoke FipeLoadStatus",
    },
    "FipeSomaIngestor": {"receive from price"},
    "FipeLoadStatus": set(),
    "FipeAnnouncer": {
        "send to announcement",
        "receive from announcement",
        "invoke FipeLoadStatus",
        "tell the topic",
    },
    "FipeSqlRunner": set(),
    "FipeSqlInit": {"read the database's secret", "invoke FipeSqlRunner"},
}
"""All that the code of each function may do, of what `_calls` tries."""


@pytest.fixture(scope="module")
def cloud(guard: FolderGuard) -> Iterator[SecondCloud]:
    """MiniStack with the application in it; its schedule fires every minute."""
    # Not in pytest's temporary folder: it is closed to PostgreSQL's user.
    with (
        TemporaryDirectory(prefix="fipe-second-cloud-") as name,
        FipeSimulator(read_catalogue(SAMPLE_CATALOGUE)) as simulator,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        guard.watch(folder)
        with second_cloud(folder, simulator) as cloud:
            cloud.deploy()
            yield cloud


def assert_complete(cloud: SecondCloud, run_id: str) -> None:
    """The load is complete, the prices are the catalogue's, IAM denied nothing and no message is left."""
    columns = ", ".join(CatalogueRow._fields)
    prices = {tuple(row) for row in cloud.simulator.catalogue.rows}
    assert cloud.runs()[run_id], f"not complete; denied: {cloud.denials()}"
    assert set(cloud.query(f"select {columns} from fipe.vehicle_price")) == prices
    told = "select count(*) from fipe.announcement where run_id = %s and told_at is not null"
    eventually(lambda: cloud.query(told, run_id) == [(1,)], 30)
    assert cloud.denials() == set()
    until_idle(cloud)


def until_idle(cloud: SecondCloud) -> None:
    try:
        eventually(lambda: not any(cloud.messages().values()), 20)
    except AssertionError:
        raise AssertionError(f"messages are left: {cloud.messages()}") from None


def test_nothing_starts_if_ministack_has_changed_a_function_that_is_replaced(tmp_path: Path) -> None:
    # As if the shim had been written for another version.
    changed = re.sub(r'"enforce", "\w+"', '"enforce", "0123456789ab"', SHIM.read_text())
    (tmp_path / "shim.py").write_text(changed)
    ended = subprocess.run(
        [PYTHON, tmp_path / "shim.py", "1", tmp_path, "python"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "MiniStack has changed ministack.core.iam_evaluator.enforce: its digest is" in ended.stderr


def test_each_function_may_do_its_own_work_and_nothing_else(cloud: SecondCloud) -> None:
    done = {function: set(_calls_that_are_allowed(cloud, function)) for function in FUNCTIONS}
    assert done == ALLOWED
    cloud.forget_denials()


def _calls_that_are_allowed(cloud: SecondCloud, function: str) -> Iterator[str]:
    for what, call in _calls(cloud, function).items():
        try:
            call()
        except ClientError as error:
            if error.response["Error"]["Code"].startswith(("AccessDenied", "AuthorizationError")):
                continue
            if error.response["Error"]["Code"] not in INVALID:
                raise
        yield what


def _calls(cloud: SecondCloud, function: str) -> dict[str, Callable[[], Any]]:
    """Calls that a function could try. None of them changes anything if it is allowed."""
    name = f"{function}-dev"
    sqs, lambda_, secrets, dynamodb, sns = (
        cloud.as_function(name, service) for service in ("sqs", "lambda", "secretsmanager", "dynamodb", "sns")
    )
    (topic,) = cloud.client("sns").list_topics()["Topics"]
    (secret,) = cloud.client("secretsmanager").list_secrets()["SecretList"]
    calls: dict[str, Callable[[], Any]] = {
        "read the database's secret": lambda: secrets.get_secret_value(SecretId=secret["ARN"]),
        "pace": lambda: dynamodb.update_item(TableName="fipe-pace-dev", Key={"no key": {"S": "of it"}}),
        "read all paces": lambda: dynamodb.scan(TableName="fipe-pace-dev"),
        "delete the pace": lambda: dynamodb.delete_table(TableName="fipe-pace-dev"),
    }
    calls["tell the topic"] = lambda: sns.publish(TopicArn=topic["TopicArn"], Message="by the test")
    for queue in ("manufacturer", "model", "price", "announcement"):
        url = f"{cloud.url}/{ACCOUNT}/fipe-{queue}-queue-dev"
        calls[f"send to {queue}"] = lambda url=url: sqs.send_message(QueueUrl=url, MessageBody="\x01")
        calls[f"receive from {queue}"] = lambda url=url: sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=100_000
        )
        calls[f"empty {queue}"] = lambda url=url: sqs.purge_queue(QueueUrl=url)
    for other in FUNCTIONS:
        calls[f"invoke {other}"] = lambda other=other: lambda_.invoke(
            FunctionName=f"{other}-dev", InvocationType="DryRun"
        )
    return calls


def test_the_schedule_starts_a_load_whose_prices_equal_the_catalogue(cloud: SecondCloud) -> None:
    eventually(cloud.runs, 90)
    cloud.stop_schedule()
    eventually(lambda: all(cloud.runs().values()))
    (run_id,) = cloud.runs()
    assert_complete(cloud, run_id)


@pytest.mark.parametrize(
    ("function", "action", "given_for", "resource"),
    [
        ("FipeManufacturerLoader", "sqs:SendMessage", "ManufacturerQueue",
         "sqs:{}:fipe-manufacturer-queue-dev"),
        ("FipeManufacturerLoader", "lambda:InvokeFunction", "FipeLoadStatus",
         "lambda:{}:function:FipeLoadStatus-dev"),
        ("FipeModelLoader", "sqs:SendMessage", "ModelQueue", "sqs:{}:fipe-model-queue-dev"),
        ("FipePriceLoader", "sqs:SendMessage", "PriceQueue", "sqs:{}:fipe-price-queue-dev"),
        ("FipePriceLoader", "dynamodb:UpdateItem", "Pace", "dynamodb:{}:table/fipe-pace-dev"),
        ("FipeSomaIngestor", "sqs:ReceiveMessage", "PriceQueue", "sqs:{}:fipe-price-queue-dev"),
    ],
)  # fmt: skip
def test_with_a_permission_taken_out_of_the_template_the_load_fails_and_the_permission_is_named(
    cloud: SecondCloud, function: str, action: str, given_for: str, resource: str
) -> None:
    parent, child = cloud.templates()
    earlier = cloud.runs()
    expected = Denial(f"{function}-dev", action, f"arn:aws:{resource.format(PLACE)}")
    assert cloud.put_templates(parent, without(child, f"{function}Role", action, given_for)) == ""
    try:
        cloud.start(brands=["Acura"], until_stable=True)
        eventually(cloud.denials)
        assert cloud.denials() == {expected}
        assert not any(complete for run_id, complete in cloud.runs().items() if run_id not in earlier)
    finally:
        cloud.purge()
        cloud.put_templates(parent, child)
        cloud.forget_denials()


@pytest.mark.parametrize(
    ("action", "resource"),
    [("secretsmanager:GetSecretValue", "secret:"), ("lambda:InvokeFunction", "function:FipeSqlRunner-dev")],
)
def test_without_its_permissions_the_sql_script_does_not_run_and_the_deploy_says_so(
    cloud: SecondCloud, action: str, resource: str
) -> None:
    parent, child = cloud.templates()
    changed = without(parent, "SqlInitInitRole", action)
    (contents,) = (each for each in changed["Resources"].values() if each["Type"] == "Custom::FipeDatabase")
    contents["Properties"]["ScriptSha256"] = "as if the script had changed"
    why = cloud.put_templates(changed, child)
    (denial,) = cloud.denials()
    cloud.forget_denials()
    assert action in why
    assert (denial.caller, denial.action) == ("FipeSqlInit-dev", action)
    assert resource in denial.resource


def test_a_deploy_with_the_cdk_gives_the_permissions_back_and_a_load_completes(cloud: SecondCloud) -> None:
    cloud.deploy(schedule="off", calls_per_minute="max", batch_size="9")
    run_id = cloud.start()["run_id"]
    eventually(lambda: cloud.runs().get(run_id))
    assert_complete(cloud, run_id)


@pytest.mark.real_month
@needs_real_month
def test_loads_the_real_month_with_every_price_equal(cloud: SecondCloud) -> None:
    cloud.simulator.catalogue = read_catalogue(REAL_MONTH)
    cloud.simulator.published = 1
    run_id = cloud.start()["run_id"]
    eventually(lambda: cloud.runs().get(run_id), 1800)
    assert_complete(cloud, run_id)
