"""A source that gives scripted answers, one after the other, over real HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Answer(NamedTuple):
    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: str


class ScriptedSource:
    def __init__(self, answers: list[Answer], url: str) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        self.url = url


@contextmanager
def scripted_source(*answers: Answer | bytes) -> Iterator[ScriptedSource]:
    """Serve the answers in order, and repeat the last one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            source.asked.append(Asked(self.path, dict(self.headers), body))
            answer = source.answers[0] if len(source.answers) == 1 else source.answers.pop(0)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scripted = [answer if isinstance(answer, Answer) else Answer(answer) for answer in answers]
    source = ScriptedSource(scripted, f"http://localhost:{server.server_port}/api/veiculos")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield source
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
