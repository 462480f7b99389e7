"""Faults of AWS's APIs as the functions meet them: a proxy between them and the local cloud, microburst.

It answers with AWS's errors in AWS's format, so that the SDK retries as it does on AWS.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from socket import socket
from typing import Any

import requests

from tests.local_cloud_support import eventually
from tests.reliability.pipeline import FUNCTIONS, Pipeline

CALLS_PER_MINUTE = "1200"
"""Enough for a short test, and slow enough that the functions take turns with DynamoDB, as they do on AWS."""
SERVICES = ("SQS", "DYNAMODB", "LAMBDA")


class ApiFaults:
    """The running proxy."""

    def __init__(self, url: str) -> None:
        self.url = url

    def strike(self, *rules: dict[str, Any]) -> None:
        """Uses these rules of microburst from now on instead of the previous ones; none ends all faults."""
        requests.post(f"{self.url}/_microburst/rules", json=list(rules), timeout=10).raise_for_status()

    def struck(self) -> set[str]:
        """The operations that were struck so far."""
        fired = requests.get(f"{self.url}/_microburst/fired", params={"limit": 100_000}, timeout=10).json()
        return {each["operation"] for each in fired}


@contextmanager
def api_faults(pipeline: Pipeline) -> Iterator[ApiFaults]:
    """Puts the proxy between the functions and their APIs, and has them keep a pace, while the block runs."""
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    proxy = subprocess.Popen(
        [sys.executable, "-m", "microburst", "--port", str(port), "--upstream", pipeline.cloud.endpoint.url],
        # By the folder, tests.guard knows what to end if this process is killed.
        env={**os.environ, "TMPDIR": str(pipeline.postgres.folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        faults = ApiFaults(f"http://localhost:{port}")
        eventually(lambda: _is_up(faults))
        with ExitStack() as changes:
            table = changes.enter_context(pipeline.pace_table())
            variables = {f"AWS_ENDPOINT_URL_{service}": faults.url for service in SERVICES}
            variables |= {"PACE_TABLE": table, "FIPE_CALLS_PER_MINUTE": CALLS_PER_MINUTE}
            for function in ("FipeManufacturerLoader", *(name for name, _ in FUNCTIONS.values())):
                changes.enter_context(pipeline.variables(function, **variables))
            yield faults
            faults.strike()
    finally:
        proxy.terminate()
        proxy.wait()


def _is_up(faults: ApiFaults) -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(f"{faults.url}/_microburst/health", timeout=10).ok
    return False
