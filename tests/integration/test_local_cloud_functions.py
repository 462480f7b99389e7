"""Functions in the local cloud behave as Lambda's: warm processes, timeouts, errors, logs."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.local_cloud_support import Cloud, eventually, running_cloud, zipped

FUNCTION = """
    import os, time

    def handler(event, context):
        print("about to", sorted(event))
        if "sleep" in event:
            time.sleep(event["sleep"])
        if "exit" in event:
            os._exit(event["exit"])
        if "error" in event:
            raise ValueError(event["error"])
        if "variable" in event:
            return os.environ.get(event["variable"])
        return {
            "process": os.getpid(),
            "request": context.aws_request_id,
            "milliseconds": context.get_remaining_time_in_millis(),
        }
"""

TICKING = """
    import os, threading, time

    ticks = 0

    def tick():
        global ticks
        while True:
            time.sleep(0.01)
            ticks += 1

    threading.Thread(target=tick, daemon=True).start()

    def handler(event, context):
        return {"process": os.getpid(), "ticks": ticks}
"""
GREEDY = """
    import time

    kept = []

    def handler(event, context):
        kept[:] = [b"x" * (event["megabytes"] * 2**20)]
        time.sleep(event["sleep"])
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        cloud.put_function("echo", FUNCTION, timeout=2, Environment={"Variables": {"GREETING": "hello"}})
        yield cloud


def answer(response: Any) -> Any:
    return json.load(response["Payload"])


def test_runs_the_deployed_code_and_keeps_its_process_warm(cloud: Cloud) -> None:
    first, second = answer(cloud.invoke("echo", {})), answer(cloud.invoke("echo", {}))
    assert first["process"] == second["process"]
    assert first["request"] != second["request"]
    assert 1000 < first["milliseconds"] <= 2000


def test_freezes_a_function_between_invocations(cloud: Cloud) -> None:
    cloud.put_function("ticking", TICKING)
    first = answer(cloud.invoke("ticking", {}))
    eventually(lambda: psutil.Process(first["process"]).status() == psutil.STATUS_STOPPED)
    time.sleep(1)
    second = answer(cloud.invoke("ticking", {}))
    assert second["process"] == first["process"]
    assert second["ticks"] - first["ticks"] < 50, "its thread stood still for the second"


def test_runs_as_many_processes_as_invocations_at_once(cloud: Cloud) -> None:
    with ThreadPoolExecutor(3) as pool:
        responses = list(pool.map(lambda _: answer(cloud.invoke("echo", {"sleep": 1.5})), range(3)))
    assert len({response["process"] for response in responses}) == 3


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GREETING", "hello"),
        ("AWS_LAMBDA_FUNCTION_NAME", "echo"),
        ("AWS_REGION", "us-east-1"),
        ("PGSSLMODE", "disable"),
        ("PYTHONPATH", None),
    ],
)
def test_gives_the_function_its_environment_and_not_the_users(
    cloud: Cloud, variable: str, value: str
) -> None:
    assert answer(cloud.invoke("echo", {"variable": variable})) == value


def test_lets_the_function_reach_the_aws_apis_here(cloud: Cloud) -> None:
    assert answer(cloud.invoke("echo", {"variable": "AWS_ENDPOINT_URL"})) == cloud.endpoint.url


def test_reports_an_exception_as_an_unhandled_function_error(cloud: Cloud) -> None:
    response = cloud.invoke("echo", {"error": "no such brand"})
    assert response["FunctionError"] == "Unhandled"
    document = answer(response)
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "no such brand")


def test_ends_a_function_at_its_timeout_and_starts_a_new_process(cloud: Cloud) -> None:
    before = answer(cloud.invoke("echo", {}))["process"]
    response = cloud.invoke("echo", {"sleep": 30})
    assert response["FunctionError"] == "Unhandled"
    assert answer(response)["errorMessage"].endswith("Task timed out after 2.00 seconds")
    assert not psutil.pid_exists(before)
    assert answer(cloud.invoke("echo", {}))["process"] != before


def test_reports_a_crash_and_starts_a_new_process(cloud: Cloud) -> None:
    response = cloud.invoke("echo", {"exit": 3})
    assert answer(response)["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in cloud.log("echo")
    assert "FunctionError" not in cloud.invoke("echo", {})


@pytest.mark.parametrize("sleep", [0, 1])
def test_ends_a_function_that_needs_more_memory_than_it_has(cloud: Cloud, sleep: int) -> None:
    cloud.put_function("greedy", GREEDY, MemorySize=128)
    assert "FunctionError" not in cloud.invoke("greedy", {"megabytes": 1, "sleep": sleep})
    response = cloud.invoke("greedy", {"megabytes": 200, "sleep": sleep})
    assert response["FunctionError"] == "Unhandled"
    assert answer(response)["errorType"] == "Runtime.ExitError"
    report = cloud.log("greedy").splitlines()[-1]
    assert "Max Memory Used: 128 MB\tStatus: error\tError Type: Runtime.OutOfMemory" in report
    assert "FunctionError" not in cloud.invoke("greedy", {"megabytes": 1, "sleep": sleep})
    cloud.client("lambda").delete_function(FunctionName="greedy")


def test_reports_code_that_cannot_be_loaded(cloud: Cloud) -> None:
    cloud.put_function("broken", "import nowhere")
    assert answer(cloud.invoke("broken", {}))["errorType"] == "Runtime.ImportModuleError"


def test_shows_the_end_of_the_log_when_asked(cloud: Cloud) -> None:
    response = cloud.invoke("echo", {"a": 1}, LogType="Tail")
    tail = base64.b64decode(response["LogResult"]).decode()
    assert "about to ['a']" in tail
    assert "REPORT RequestId:" in tail
    assert "LogResult" not in cloud.invoke("echo", {})


def test_writes_the_log_to_a_file_and_to_cloudwatch(cloud: Cloud) -> None:
    cloud.invoke("echo", {"findme": 1})
    assert "about to ['findme']" in cloud.log("echo")
    events = cloud.client("logs").filter_log_events(logGroupName="/aws/lambda/echo", filterPattern="findme")
    assert events["events"]


def test_a_log_group_that_is_deleted_stays_away(cloud: Cloud) -> None:
    cloud.put_function("unlogged", FUNCTION)
    logs, group = cloud.client("logs"), "/aws/lambda/unlogged"
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    logs.delete_log_group(logGroupName=group)
    assert "FunctionError" not in cloud.invoke("unlogged", {})
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []


def test_logs_a_line_that_only_looks_like_a_metric(cloud: Cloud) -> None:
    line = '"CloudWatchMetrics": {"_aws": {}}'
    cloud.invoke("echo", {line: 1})
    assert line in cloud.log("echo")


def test_does_not_run_a_dry_run(cloud: Cloud) -> None:
    cloud.invoke("echo", {})  # so that there is a log
    assert cloud.invoke("echo", {"dry": 1}, InvocationType="DryRun")["StatusCode"] == 204
    assert "about to ['dry']" not in cloud.log("echo")


def test_runs_an_asynchronous_invocation_after_answering(cloud: Cloud) -> None:
    started = time.monotonic()
    assert cloud.invoke("echo", {"sleep": 1.5, "later": 1}, InvocationType="Event")["StatusCode"] == 202
    assert time.monotonic() - started < 1.5
    eventually(lambda: "about to ['later', 'sleep']" in cloud.log("echo"))


def test_keeps_to_the_reserved_concurrency(cloud: Cloud) -> None:
    cloud.put_function("alone", FUNCTION)
    cloud.client("lambda").put_function_concurrency(FunctionName="alone", ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cloud.invoke, "alone", {"sleep": 2})
        eventually(lambda: cloud.status()["functions"].get("alone", {}).get("running"))
        with pytest.raises(ClientError, match="TooManyRequestsException"):
            cloud.invoke("alone", {})
        assert "FunctionError" not in running.result()


def test_tells_the_accounts_concurrency_without_what_is_reserved(cloud: Cloud) -> None:
    client = cloud.client("lambda")

    def limit() -> tuple[int, int]:
        found = client.get_account_settings()["AccountLimit"]
        return found["ConcurrentExecutions"], found["UnreservedConcurrentExecutions"]

    total, before = limit()
    cloud.put_function("reserved", FUNCTION)
    client.put_function_concurrency(FunctionName="reserved", ReservedConcurrentExecutions=7)
    assert limit() == (total, before - 7) == (1000, before - 7)


def test_runs_new_code_in_a_new_process(cloud: Cloud) -> None:
    cloud.put_function("changing", "def handler(event, context): return 1")
    assert answer(cloud.invoke("changing", {})) == 1
    cloud.client("lambda").update_function_code(
        FunctionName="changing", ZipFile=zipped("def handler(event, context): return 2")
    )
    assert answer(cloud.invoke("changing", {})) == 2


def test_refuses_settings_and_events_that_lambda_refuses(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="reserved keys"):
        cloud.put_function("refused", FUNCTION, Environment={"Variables": {"AWS_REGION": "mars-1"}})
    client = cloud.client("lambda")
    with pytest.raises(ClientError, match="less than or equal to 900"):
        client.update_function_configuration(FunctionName="echo", Timeout=901)
    with pytest.raises(ClientError, match="RequestTooLargeException"):
        cloud.invoke("echo", "x" * 6 * 2**20)
    with pytest.raises(ClientError, match="RequestTooLargeException"):
        cloud.invoke("echo", "x" * 2**20, InvocationType="Event")


def test_counts_what_was_run_and_what_failed(cloud: Cloud) -> None:
    cloud.put_function("counted", FUNCTION)
    cloud.invoke("counted", {})
    cloud.invoke("counted", {"error": "x"})
    figures = cloud.status()["functions"]["counted"]
    assert (figures["invocations"], figures["errors"], figures["warm"]) == (2, 1, 1)
    assert figures["billed_ms"] > 0


def test_ends_every_process_with_the_cloud(tmp_path: Any) -> None:
    with running_cloud(tmp_path) as cloud:
        cloud.put_function("echo", FUNCTION)
        cloud.invoke("echo", {})
        processes = cloud.status()["processes"]
        assert len(processes) == 3  # the server, its guard, the function
    assert not any(psutil.pid_exists(pid) for pid in processes)


def test_a_server_that_is_killed_leaves_no_frozen_function(tmp_path: Any) -> None:
    with running_cloud(tmp_path) as cloud:
        cloud.put_function("echo", FUNCTION)
        function = psutil.Process(answer(cloud.invoke("echo", {}))["process"])
        eventually(lambda: function.status() == psutil.STATUS_STOPPED)
        psutil.Process(cloud.endpoint.pid).kill()
        eventually(lambda: not function.is_running() or function.status() == psutil.STATUS_ZOMBIE, 20)
