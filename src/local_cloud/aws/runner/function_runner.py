"""Runs functions as Lambda does: the deployed code under awslambdaric, in processes that stay warm.

An execution environment is one process with one Runtime API; it takes one invocation at a time. A function
gets as many environments as invocations run at once, idle ones end after a while, and a timeout or a crash
ends the environment, so that the next invocation starts with a fresh one.
"""

import logging
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from local_cloud.aws.runner.function_logs import FunctionLog, OutputReader, PublishLogs
from local_cloud.aws.runner.runtime_api import Answer, Invocation, RuntimeApi, error_document
from local_cloud.guard import ProcessGuard
from local_cloud.state import LocalState, file_name

logger = logging.getLogger(__name__)

INIT_SECONDS = 60.0
"""How long a start may take. Lambda allows 10 s; a busy laptop needs more."""

IDLE_SECONDS = 300.0
"""After how long an idle environment ends."""

ASYNC_RETRY_SECONDS = (60.0, 120.0)
"""Lambda runs a failed asynchronous invocation twice more, after one and after two minutes."""

LOG_TAIL_BYTES = 4096

# What the machine needs of the environment; a function sees nothing else of the user's.
_INHERITED = (
    "PATH",
    "HOME",
    "TMPDIR",
    "SYSTEMROOT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)


class ThrottledError(Exception):
    """The function already runs as often as its reserved concurrency allows."""


class RunnerStoppedError(Exception):
    """The local cloud is ending: nothing is started any more."""


@dataclass(frozen=True)
class FunctionSpec:
    """All that decides how a function runs: an environment serves exactly one spec."""

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
    """What a function did since the cloud started; billed_ms includes starts, each run rounded up."""

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
        self._api = RuntimeApi(on_answer=self._before_answer)
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
        """End the process and all it started."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _wait_for_start(self, invocation: Invocation) -> Answer | None:
        starting: tuple[Future[object], ...] = (invocation.taken_at, self._api.init_error, self._exited)  # type: ignore[assignment]
        wait(starting, INIT_SECONDS, FIRST_COMPLETED)
        if invocation.taken_at.done():
            return None
        if self._api.init_error.done():
            return self._api.init_error.result()
        if self._exited.done():
            return self._exit_error(invocation)
        self.kill()
        text = f"Initialization timed out after {INIT_SECONDS:.2f} seconds"
        return Answer(
            error_document("Sandbox.Timedout", f"RequestId: {invocation.request_id} Error: {text}"),
            is_error=True,
        )

    def _wait_for_answer(self, invocation: Invocation) -> Answer:
        remaining = invocation.taken_at.result() + self.spec.timeout_seconds - time.monotonic()
        running: tuple[Future[object], ...] = (invocation.answer, self._exited)  # type: ignore[assignment]
        wait(running, max(0.0, remaining), FIRST_COMPLETED)
        if invocation.answer.done():
            return invocation.answer.result()
        if self._exited.done():
            return self._exit_error(invocation)
        self.kill()
        text = f"Task timed out after {self.spec.timeout_seconds:.2f} seconds"
        self._output.pump()
        self._output.note(
            f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + f"Z {invocation.request_id} {text}"
        )
        return Answer(
            error_document("Sandbox.Timedout", f"RequestId: {invocation.request_id} Error: {text}"),
            is_error=True,
        )

    def _exit_error(self, invocation: Invocation) -> Answer:
        code = self._exited.result()
        how = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        text = f"RequestId: {invocation.request_id} Error: Runtime exited with error: {how}"
        self._output.note(text)
        return Answer(error_document("Runtime.ExitError", text), is_error=True)

    def _report(self, invocation: Invocation, ended_at: float, statistics: FunctionStatistics) -> None:
        taken_at = invocation.taken_at.result() if invocation.taken_at.done() else ended_at
        duration_ms = (ended_at - taken_at) * 1000
        init_ms = (taken_at - self._started_at) * 1000 if self._is_new else 0.0
        billed_ms = math.ceil(duration_ms + init_ms)
        report = (
            f"REPORT RequestId: {invocation.request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {billed_ms} ms\tMemory Size: {self.spec.memory_mb} MB\t"
            f"Max Memory Used: {self.max_memory_mb} MB"
        )
        if self._is_new:
            report += f"\tInit Duration: {init_ms:.2f} ms"
        self._is_new = False
        self._output.note(f"END RequestId: {invocation.request_id}")
        self._output.note(report)
        statistics.billed_ms += billed_ms
        statistics.max_memory_mb = max(statistics.max_memory_mb, self.max_memory_mb)

    def _before_answer(self) -> None:
        """All that the handler printed is in the pipe: take it in, so that its log is whole."""
        self._output.pump()
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


@dataclass
class _Pool:
    """The environments and figures of one function."""

    log: FunctionLog
    idle: list[ExecutionEnvironment] = field(default_factory=list)
    busy: set[ExecutionEnvironment] = field(default_factory=set)
    statistics: FunctionStatistics = field(default_factory=FunctionStatistics)


class FunctionRunner:
    """Runs any number of functions; every method may be called from any thread."""

    def __init__(
        self,
        state: LocalState,
        endpoint_url: str,
        publish_logs: PublishLogs,
        guard: ProcessGuard,
        *,
        idle_seconds: float = IDLE_SECONDS,
        async_retry_seconds: tuple[float, ...] = ASYNC_RETRY_SECONDS,
    ) -> None:
        """Functions reach the AWS APIs at `endpoint_url`."""
        self._state = state
        self._endpoint_url = endpoint_url
        self._publish_logs = publish_logs
        self._guard = guard
        self._idle_seconds = idle_seconds
        self._async_retry_seconds = async_retry_seconds
        self._lock = threading.Lock()
        self._pools: defaultdict[str, _Pool] = defaultdict()
        self._stopping = threading.Event()
        threading.Thread(target=self._end_idle, daemon=True).start()

    def invoke(self, spec: FunctionSpec, event: bytes, reserved_concurrency: int | None = None) -> Outcome:
        """Run an invocation and wait for its end.

        Raises ThrottledError when `reserved_concurrency` invocations run already, and RunnerStoppedError
        once the cloud is ending.
        """
        return self._invoke(str(uuid.uuid4()), spec, event, reserved_concurrency)

    def invoke_later(self, spec: FunctionSpec, event: bytes, reserved_concurrency: int | None = None) -> None:
        """Run an invocation in the background, again when it fails, under the same id, as Lambda does."""
        threading.Thread(
            target=self._run_with_retries, args=(spec, event, reserved_concurrency), daemon=True
        ).start()

    def statistics(self) -> dict[str, dict[str, int]]:
        """Figures by function name."""
        with self._lock:
            for pool in self._pools.values():
                pool.statistics.warm = len(pool.idle) + len(pool.busy)
                pool.statistics.running = len(pool.busy)
            return {name: asdict(pool.statistics) for name, pool in sorted(self._pools.items())}

    def processes(self) -> list[int]:
        """The ids of the processes of all environments."""
        with self._lock:
            return [
                environment._process.pid
                for pool in self._pools.values()
                for environment in (*pool.idle, *pool.busy)
            ]

    def stop(self) -> None:
        """End every environment; what runs is lost."""
        self._stopping.set()
        with self._lock:
            pools = list(self._pools.values())
            environments = [environment for pool in pools for environment in (*pool.idle, *pool.busy)]
        for environment in environments:
            environment.kill()
        for pool in pools:
            pool.log.close()

    def _invoke(
        self, request_id: str, spec: FunctionSpec, event: bytes, reserved_concurrency: int | None
    ) -> Outcome:
        environment, pool = self._acquire(spec, reserved_concurrency)
        try:
            outcome = environment.run(request_id, event, pool.statistics, self._publish_logs)
        finally:
            self._release(environment, pool)
        with self._lock:
            pool.statistics.invocations += 1
            pool.statistics.errors += outcome.is_error
        return outcome

    def _acquire(
        self, spec: FunctionSpec, reserved_concurrency: int | None
    ) -> tuple[ExecutionEnvironment, _Pool]:
        with self._lock:
            if self._stopping.is_set():
                raise RunnerStoppedError
            if spec.name not in self._pools:
                self._pools[spec.name] = _Pool(FunctionLog(self._state.log_of(file_name(spec.name))))
            pool = self._pools[spec.name]
            if reserved_concurrency is not None and len(pool.busy) >= reserved_concurrency:
                pool.statistics.throttles += 1
                raise ThrottledError(spec.name)
            while pool.idle:
                environment = pool.idle.pop()
                if environment.spec == spec and environment.is_alive:
                    break
                environment.kill()  # its code or its settings are no longer the function's
            else:
                environment = ExecutionEnvironment(spec, self._variables(spec), pool.log, self._guard)
                pool.statistics.cold_starts += 1
            pool.busy.add(environment)
            return environment, pool

    def _release(self, environment: ExecutionEnvironment, pool: _Pool) -> None:
        with self._lock:
            pool.busy.discard(environment)
            if environment.is_alive and not self._stopping.is_set():
                pool.idle.append(environment)
                return
        environment.kill()

    def _run_with_retries(self, spec: FunctionSpec, event: bytes, reserved_concurrency: int | None) -> None:
        request_id = str(uuid.uuid4())
        for delay in (0.0, *self._async_retry_seconds):
            pool = self._pools.get(spec.name)
            if delay and pool is not None:
                pool.statistics.waiting_retries += 1
                stopped = self._stopping.wait(delay)
                pool.statistics.waiting_retries -= 1
                if stopped:
                    return
            try:
                if not self._invoke(request_id, spec, event, reserved_concurrency).is_error:
                    return
            except ThrottledError:
                continue
            except RunnerStoppedError:
                return
        logger.error("%s: an asynchronous invocation failed each time and is dropped", spec.name)

    def _end_idle(self) -> None:
        while not self._stopping.wait(min(5.0, self._idle_seconds)):
            oldest = time.monotonic() - self._idle_seconds
            with self._lock:
                ended = [
                    (pool, environment)
                    for pool in self._pools.values()
                    for environment in pool.idle
                    if environment.idle_since < oldest or not environment.is_alive
                ]
                for pool, environment in ended:
                    pool.idle.remove(environment)
            for _, environment in ended:
                environment.kill()

    def _variables(self, spec: FunctionSpec) -> dict[str, str]:
        """Lambda's own variables around the function's, then what this place needs."""
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONIOENCODING": "utf-8",
            "LAMBDA_TASK_ROOT": str(spec.code),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": spec.region,
            "AWS_DEFAULT_REGION": spec.region,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_SESSION_TOKEN": "testing",
            **dict(spec.variables),
            "_HANDLER": spec.handler,
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "NO_PROXY": "localhost,127.0.0.1",
            # The embedded PostgreSQL speaks no TLS.
            "PGSSLMODE": "disable",
        }
