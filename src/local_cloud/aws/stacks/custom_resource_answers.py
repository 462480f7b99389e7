"""The ResponseURLs of CloudFormation, to which functions behind custom resources send their answers."""

import json
import secrets
import threading
from concurrent.futures import Future
from typing import Any

PATH = "/local-cloud/custom-resource/"

LARGEST_ANSWER_BYTES = 4096
"""CloudFormation takes a longer answer for a failure."""


class CustomResourceAnswers:
    """The requests without an answer yet, by the secret part of their ResponseURL."""

    def __init__(self, endpoint_url: str) -> None:
        """ResponseURLs start with `endpoint_url`."""
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()
        self._open: dict[str, Future[dict[str, Any]]] = {}

    def expect(self) -> tuple[str, "Future[dict[str, Any]]"]:
        """A new ResponseURL, and the answer that will be sent to it."""
        token = secrets.token_urlsafe(24)
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            self._open[token] = answer
        return f"{self._endpoint_url}{PATH}{token}", answer

    def deliver(self, path: str, body: bytes) -> bool:
        """Take the answer that was sent to `path`; False when none is expected or it is no JSON object."""
        try:
            document = json.loads(body)
        except ValueError:
            return False
        if not isinstance(document, dict):
            return False
        if len(body) > LARGEST_ANSWER_BYTES:
            document = {"Status": "FAILED", "Reason": "Response object is too long."}
        with self._lock:
            answer = self._open.pop(path.removeprefix(PATH), None)
        if answer is None:
            return False
        answer.set_result(document)
        return True
