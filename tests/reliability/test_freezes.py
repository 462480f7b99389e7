"""Functions that are frozen between invocations for so long that all their connections die."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle, islice
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import pytest

from fipe_api.aws.clients import TIMEOUT_SECONDS
from tests.builders import sqs_event
from tests.forgetful_proxy import Death, ForgetfulProxy, forgetful_proxy
from tests.local_cloud_support import eventually
from tests.reliability.pipeline import FUNCTIONS, Pipeline

INVOCATIONS = 20
CLOSED = pytest.param(Death.CLOSED, marks=pytest.mark.faults)
"""The easiest: HTTP clients see it by themselves."""


class Frozen:
    """A function whose connections go through proxies, and that is frozen between invocations."""

    def __init__(self, pipeline: Pipeline, name: str, proxies: Sequence[ForgetfulProxy]) -> None:
        self._pipeline = pipeline
        self._name = name
        self._proxies = proxies
        self._log_before = pipeline.cloud.log(name)

    def invoke(self, body: str) -> None:
        """Works on one message, which must not fail and not wait for a timeout."""
        started = time.monotonic()
        answer = json.load(self._pipeline.cloud.invoke(self._name, sqs_event(body))["Payload"])
        assert answer == {"batchItemFailures": []}
        assert time.monotonic() - started < TIMEOUT_SECONDS

    def freeze_until_connections_die(self, death: Death) -> None:
        for pid in self._pipeline.workers(FUNCTIONS_BY_NAME[self._name]):
            eventually(lambda pid=pid: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        for proxy in self._proxies:
            proxy.forget_connections(death)

    def log(self) -> str:
        """What the function has logged meanwhile."""
        return self._pipeline.cloud.log(self._name).removeprefix(self._log_before)


FUNCTIONS_BY_NAME = dict(FUNCTIONS.values())
Freezing = Callable[[Pipeline, str], AbstractContextManager[Frozen]]


@contextmanager
def frozen_loader(pipeline: Pipeline, name: str) -> Iterator[Frozen]:
    aws, source = urlsplit(pipeline.cloud.endpoint.url), urlsplit(pipeline.simulator.url)
    assert aws.port
    assert source.port
    with (
        forgetful_proxy(aws.port) as sqs,
        forgetful_proxy(aws.port) as dynamodb,
        forgetful_proxy(source.port) as http,
        pipeline.pace_table() as table,
        pipeline.variables(
            name,
            AWS_ENDPOINT_URL_SQS=f"http://localhost:{sqs.port}",
            AWS_ENDPOINT_URL_DYNAMODB=f"http://localhost:{dynamodb.port}",
            FIPE_API_URL=source._replace(netloc=f"127.0.0.1:{http.port}").geturl(),
            PACE_TABLE=table,
            FIPE_CALLS_PER_MINUTE="6000",
        ),
    ):
        yield Frozen(pipeline, name, (sqs, dynamodb, http))


@contextmanager
def frozen_ingestor(pipeline: Pipeline, name: str) -> Iterator[Frozen]:
    place = pipeline.postgres.connection()
    assert place
    # On the database's own port, for which the token is signed.
    with (
        forgetful_proxy(place.port, ("127.0.0.2", place.port)) as database,
        pipeline.variables(name, PGHOSTADDR="127.0.0.2"),
    ):
        yield Frozen(pipeline, name, (database,))


def works_on_after_each_freeze(pipeline: Pipeline, kind: str, freezing: Freezing, death: Death) -> None:
    name, _ = FUNCTIONS[kind]
    with pipeline.paused(kind):
        run_id = pipeline.start()
        pipeline.until_only_waiting_in(kind)
        messages = pipeline.take_all(pipeline.queues[kind])
        with freezing(pipeline, name) as function:
            for body in islice(cycle(messages), max(INVOCATIONS, len(messages))):
                function.invoke(body)
                function.freeze_until_connections_die(death)
            log = function.log()
    for counted in ("SourceDown", "CallsThrottled", "CallsBlocked", "MessagesHandedBack"):
        assert counted not in log
    assert log.count("Init Duration") <= 1, "one process did it all"
    pipeline.until_idle()
    pipeline.assert_equal_to_the_source(run_id)


@pytest.mark.parametrize("death", [CLOSED, Death.RESET, Death.SILENT])
@pytest.mark.parametrize("kind", ["manufacturer", "model"])
def test_a_loader_works_on_after_each_freeze(pipeline: Pipeline, kind: str, death: Death) -> None:
    works_on_after_each_freeze(pipeline, kind, frozen_loader, death)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2 by itself")
@pytest.mark.parametrize("death", [CLOSED, Death.RESET])
def test_the_ingestor_works_on_after_each_freeze(pipeline: Pipeline, death: Death) -> None:
    works_on_after_each_freeze(pipeline, "price", frozen_ingestor, death)
