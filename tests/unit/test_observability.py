"""What the functions log."""

import io
import json

from aws_lambda_powertools import Logger


def test_a_name_cannot_forge_a_line_of_the_log() -> None:
    forged = 'Gol\n{"level": "ERROR", "message": "forged"}\r\x1b[31m\u2028'
    stream = io.StringIO()
    Logger(service="any", stream=stream).info("handed back", model=forged)
    # What a log is split on, and what a terminal would obey, is escaped.
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert not {"\r", "\x1b"} & set(line)
    assert json.loads(line)["model"] == forged
