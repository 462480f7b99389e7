"""Runs functions as Lambda does: the deployed code under awslambdaric, in processes that stay warm.

A function gets as many execution environments as invocations run at once; idle ones end after a while.
"""

import logging
import os
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import asdict, dataclass, field

from local_cloud.aws.runner.environment import (
    ExecutionEnvironment,
    FunctionSpec,
    FunctionStatistics,
    Outcome,
)
from local_cloud.aws.runner.function_logs import FunctionLog, PublishLogs
from local_cloud.guard import ProcessGuard
from local_cloud.state import ACCESS_KEY, LocalState, file_name

logger = logging.getLogger(__name__)

IDLE_SECONDS = 300.0
"""After how long an idle environment ends."""

ASYNC_RETRY_SECONDS = (60.0, 120.0)
"""Lambda retries a failed asynchronous invocation after one minute, and again two minutes later."""

# The user's variables that a function needs on this machine; it sees no others.
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
    """As many invocations run as the function's reserved concurrency allows."""


class RunnerStoppedError(Exception):
    """The local cloud is stopping and starts nothing more."""


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

        Raises:
            ThrottledError: `reserved_concurrency` invocations run already.
            RunnerStoppedError: the cloud is stopping.
        """
        return self._invoke(str(uuid.uuid4()), spec, event, reserved_concurrency)

    def invoke_later(self, spec: FunctionSpec, event: bytes, reserved_concurrency: int | None = None) -> None:
        """Run an invocation in the background; when it fails, retry it under the same id, as Lambda does."""
        threading.Thread(
            target=self._run_with_retries, args=(spec, event, reserved_concurrency), daemon=True
        ).start()

    def prepare(self, spec: FunctionSpec) -> None:
        """Start an environment before the first invocation, unless there is one. Lambda may do so, too.

        Raises:
            RunnerStoppedError: the cloud is stopping.
        """
        self._release(*self._acquire(spec, reserved_concurrency=None))

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
                environment.pid for pool in self._pools.values() for environment in (*pool.idle, *pool.busy)
            ]

    def stop(self) -> None:
        """End every environment, with the invocations that run in them."""
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
                environment.kill()  # the function's code or settings have changed since it started
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
        logger.error("%s: an asynchronous invocation failed, as did its retries, and is dropped", spec.name)

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
        """The function's variables, with Lambda's own, and those that the local cloud needs."""
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
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
            "AWS_SESSION_TOKEN": ACCESS_KEY,
            **dict(spec.variables),
            "_HANDLER": spec.handler,
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "NO_PROXY": "localhost,127.0.0.1",
            # The embedded PostgreSQL speaks no TLS.
            "PGSSLMODE": "disable",
        }
