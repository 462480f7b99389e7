"""Sends CloudFormation the answer that it waits for from a custom resource.

Source: CloudFormation user guide, "Custom resource request and response reference".
"""

import json
import time
from typing import Any, Literal
from urllib.request import Request, urlopen

Status = Literal["SUCCESS", "FAILED"]

LONGEST_REASON = 900
"""In characters. The whole answer may have 4,096 bytes, and a character takes up to four."""
ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 1
TIMEOUT_SECONDS = 10


def send(event: dict[str, Any], status: Status, reason: str, physical_id: str) -> None:
    """Answers a request to a custom resource.

    Never log the event's ResponseURL: anyone who knows it can send a false answer.

    Raises:
        OSError: the answer could not be sent in three attempts.
    """
    answer = {
        "Status": status,
        "Reason": reason[:LONGEST_REASON],
        "PhysicalResourceId": physical_id,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    # The URL is signed for an empty content type.
    request = Request(
        event["ResponseURL"],
        data=json.dumps(answer, ensure_ascii=False).encode(),
        method="PUT",
        headers={"Content-Type": ""},
    )
    for attempt in range(ATTEMPTS):
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS):
                return
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
