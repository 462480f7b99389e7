"""What the functions log."""

import io
import json

from aws_lambda_powertools import Logger


def test_a_name_cannot_forge_a_line_of_the_log() -> None:
    forged = 'Gol\n{"level": "ERROR", "message": "forged"}\r\x1b[31m\u2028'
    stream = io.StringIO()
    Logger(service="any", stream=stream).info("handed back", model=forged)
    # What CloudWatch splits on, and what a terminal would obey, is escaped.
    (line,) = stream.getvalue().splitlines()
    assert "\x1b" not in line
    assert json.loads(line)["model"] == forged
