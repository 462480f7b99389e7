"""One execution environment: a process that runs one function under awslambdaric, one invocation at a time.

A timeout, a crash or too much memory ends the environment, so that the next invocation starts with a fresh
one. Between invocations the process is frozen (SIGSTOP), as Lambda does it: none of its threads goes on.
Source: Lambda developer guide, "Understanding the Lambda execution environment lifecycle".
"""

import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from local_cloud.aws.runner.function_logs import FunctionLog, OutputReader, PublishLogs
from local_cloud.aws.runner.runtime_api import Answer, Invocation, RuntimeApi, error_document
from local_cloud.guard import ProcessGuard

INIT_SECONDS = 60.0
"""How long a start may take. Lambda allows 10 s; a busy laptop needs more."""

MEMORY_CHECK_SECONDS = 0.2
"""How often the memory of a running function is compared with its limit."""

LOG_TAIL_BYTES = 4096
"""How much of its log an invocation returns, as Lambda's LogType=Tail does."""


@dataclass(frozen=True)
class FunctionSpec:
    """Everything that decides how a function runs: an environment serves exactly one spec."""

    name: str
    arn: str
    region: str
    runtime: str
    handler: str
    code: Path
    """Folder of the unzipped code."""
    memory_mb: int
    timeout_seconds: float
    variables: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended: the payload of the answer, or of the error when `is_error`."""

    payload: bytes
    is_error: bool
    log_tail: bytes


@dataclass
class FunctionStatistics:
    """What a function has done since the cloud started; billed_ms includes starts, each run rounded up."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    cold_starts: int = 0
    running: int = 0
    waiting_retries: int = 0
    warm: int = 0
    billed_ms: int = 0
    max_memory_mb: int = 0


class ExecutionEnvironment:
    """One process that runs one function."""

    def __init__(
        self, spec: FunctionSpec, variables: Mapping[str, str], log: FunctionLog, guard: ProcessGuard
    ) -> None:
        """Start the process; the first invocation waits until the code is loaded."""
        self.spec = spec
        self.log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        self.idle_since = time.monotonic()
        self.max_memory_mb = 0
        self._is_new = True
        self._started_at = time.monotonic()
        self._exited: Future[int] = Future()
        self._api = RuntimeApi(
            on_answer=self._before_answer,
            freeze=lambda: self._signal(signal.SIGSTOP),
            thaw=lambda: self._signal(signal.SIGCONT),
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", spec.handler],
            cwd=spec.code,
            env={
                **variables,
                "AWS_LAMBDA_RUNTIME_API": self._api.address,
                "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        guard.kill_group(self._process.pid)
        assert self._process.stdout is not None
        self._output = OutputReader(self._process.stdout.fileno(), log)
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def run(
        self, request_id: str, event: bytes, statistics: FunctionStatistics, publish: PublishLogs
    ) -> Outcome:
        """Run one invocation to its end; add it to `statistics` and its lines to the logs."""
        invocation = Invocation(request_id, event, self.spec.arn, self.spec.timeout_seconds)
        self._output.note(f"START RequestId: {invocation.request_id} Version: $LATEST")
        self._api.submit(invocation)
        answer = self._wait_for_start(invocation) or self._wait_for_answer(invocation)
        ended_at = time.monotonic()
        self.idle_since = ended_at
        self._report(invocation, ended_at, statistics)
        batch = self._output.take_batch()
        publish(self.spec.name, self.log_stream, batch)
        tail = "\n".join(line for _, line in batch).encode()[-LOG_TAIL_BYTES:]
        return Outcome(answer.payload, answer.is_error, tail)

    def kill(self) -> None:
        """End the process and everything that it started."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and everything that it started."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _wait_for_start(self, invocation: Invocation) -> Answer | None:
        """None when the runtime has taken the event; otherwise why it did not."""
        starting: tuple[Future[object], ...] = (invocation.taken_at, self._api.init_error, self._exited)  # type: ignore[assignment]
        wait(starting, INIT_SECONDS, FIRST_COMPLETED)
        if invocation.taken_at.done():
            return None
        if self._api.init_error.done():
            return self._api.init_error.result()
        if self._exited.done():
            return self._exit_error(invocation, self._exited.result())
        self.kill()
        return _timeout_error(invocation, f"Initialization timed out after {INIT_SECONDS:.2f} seconds")

    def _wait_for_answer(self, invocation: Invocation) -> Answer:
        until = invocation.taken_at.result() + self.spec.timeout_seconds
        running: tuple[Future[object], ...] = (invocation.answer, self._exited)  # type: ignore[assignment]
        while (remaining := until - time.monotonic()) > 0:
            wait(running, min(remaining, MEMORY_CHECK_SECONDS), FIRST_COMPLETED)
            if self._exited.done():
                return self._exit_error(invocation, self._exited.result())
            if not invocation.answer.done():
                self._measure_memory()
            if self._is_out_of_memory:
                self.kill()
                return self._exit_error(invocation, -signal.SIGKILL)
            if invocation.answer.done():
                return invocation.answer.result()
        self.kill()
        text = f"Task timed out after {self.spec.timeout_seconds:.2f} seconds"
        self._output.pump()
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        self._output.note(f"{now} {invocation.request_id} {text}")
        return _timeout_error(invocation, text)

    def _exit_error(self, invocation: Invocation, code: int) -> Answer:
        how = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        text = f"RequestId: {invocation.request_id} Error: Runtime exited with error: {how}"
        self._output.note(text)
        return Answer(error_document("Runtime.ExitError", text), is_error=True)

    def _report(self, invocation: Invocation, ended_at: float, statistics: FunctionStatistics) -> None:
        taken_at = invocation.taken_at.result() if invocation.taken_at.done() else ended_at
        duration_ms = (ended_at - taken_at) * 1000
        # Not until it took the event: it may have been started long before.
        ready_at = self._api.ready_at or ended_at
        init_ms = (ready_at - self._started_at) * 1000 if self._is_new else 0.0
        billed_ms = math.ceil(duration_ms + init_ms)
        report = (
            f"REPORT RequestId: {invocation.request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {billed_ms} ms\tMemory Size: {self.spec.memory_mb} MB\t"
            f"Max Memory Used: {min(self.max_memory_mb, self.spec.memory_mb)} MB"
        )
        if self._is_new:
            report += f"\tInit Duration: {init_ms:.2f} ms"
        if self._is_out_of_memory:
            report += "\tStatus: error\tError Type: Runtime.OutOfMemory"
        self._is_new = False
        self._output.note(f"END RequestId: {invocation.request_id}")
        self._output.note(report)
        statistics.billed_ms += billed_ms
        statistics.max_memory_mb = max(statistics.max_memory_mb, self.max_memory_mb)

    def _before_answer(self) -> None:
        """Read what the handler has printed before its answer is passed on, so that the log is complete."""
        self._output.pump()
        self._measure_memory()

    @property
    def _is_out_of_memory(self) -> bool:
        return self.max_memory_mb > self.spec.memory_mb

    def _measure_memory(self) -> None:
        try:
            resident = psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return
        self.max_memory_mb = max(self.max_memory_mb, math.ceil(resident / 2**20))

    def _watch(self) -> None:
        assert self._process.stdout is not None
        while True:
            select.select([self._process.stdout], [], [])
            if not self._output.pump():
                break
        code = self._process.wait()
        self._api.close()
        self._exited.set_result(code)


def _timeout_error(invocation: Invocation, text: str) -> Answer:
    message = f"RequestId: {invocation.request_id} Error: {text}"
    return Answer(error_document("Sandbox.Timedout", message), is_error=True)
