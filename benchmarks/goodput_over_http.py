"""Goodput over HTTP: the same client in real time, with a DynamoDB server and the simulator behind HTTP.

Each function is a process of its own, as in Lambda, and so is the DynamoDB server. That is moto, which takes
12 ms per update. So the limit is low: at 50 calls per second the benchmark would measure moto instead of the
pace.

The first two thirds of the run are for finding the limit; only the last third counts.
"""

import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

import requests
from moto.server import ThreadedMotoServer

from benchmarks.goodput import TABLE, Outcome, create_table, dynamodb_client, outcome_rows, per_second
from benchmarks.rows import Row
from fipe_api.fipe_api_service import FipeApi
from fipe_api.source.http_source import FipeError, HttpSource, NotNowError
from fipe_api.source.pace import SharedPace
from fipe_simulator import SAMPLE_CATALOGUE, FipeSimulator, read_catalogue

SPAWN = multiprocessing.get_context("spawn")
CALLS_PER_SECOND, FUNCTIONS, SECONDS = 20, 2, 180.0


def run() -> Sequence[Row]:
    with _dynamodb() as endpoint, FipeSimulator(read_catalogue(SAMPLE_CATALOGUE)) as simulator:
        simulator.ceiling = per_second(CALLS_PER_SECOND)
        end = time.monotonic() + SECONDS
        functions = [
            SPAWN.Process(target=_call_until, args=(end, simulator.url, endpoint)) for _ in range(FUNCTIONS)
        ]
        for function in functions:
            function.start()
        time.sleep(2 / 3 * SECONDS)
        before, began = simulator.statistics(), time.monotonic()
        for function in functions:
            function.join()
        after, took = simulator.statistics(), time.monotonic() - began
    calls, refused = after.total - before.total, after.refused - before.refused
    outcome = Outcome((calls - refused) / took / CALLS_PER_SECOND, refused / calls)
    return outcome_rows(f"{CALLS_PER_SECOND} per second; {FUNCTIONS} at once", outcome)


def _call_until(end: float, url: str, endpoint: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        pace = SharedPace(dynamodb_client(endpoint), TABLE, None)
        api = FipeApi(HttpSource("fipe", session, pace, lambda: 300.0), url)
        while time.monotonic() < end:
            try:
                api.references()
            except NotNowError as not_now:
                time.sleep(min(not_now.retry_in, max(0.0, end - time.monotonic())))
            except FipeError:
                continue


@contextmanager
def _dynamodb() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = SPAWN.Process(target=_serve_dynamodb, args=(theirs,))
    process.start()
    try:
        endpoint = ours.recv()
        create_table(dynamodb_client(endpoint))
        yield endpoint
    finally:
        process.terminate()
        process.join()


def _serve_dynamodb(parent: Connection) -> None:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    parent.send(f"http://localhost:{server.get_host_and_port()[1]}")
    threading.Event().wait()
