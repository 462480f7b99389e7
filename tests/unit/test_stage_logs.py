"""What `make logs-dev` makes of a line in a function's log."""

import json
from datetime import timedelta

import pytest

from fipe_cli.errors import CliError
from fipe_cli.stage_logs import _line, read_duration

GROUP = "/aws/lambda/FipePriceLoader-dev"


def shown(message: str) -> tuple[str, str, str]:
    line = _line({"timestamp": 1_780_000_000_123, "message": message}, GROUP)
    return line.function, line.level, line.text


def test_an_entry_of_the_logger_shows_its_message_and_what_is_its_own():
    entry = {
        "level": "WARNING", "location": "x:1", "message": "message failed", "timestamp": "now",
        "service": "FipePriceLoader-dev", "function_request_id": "1", "message_id": "m", "receives": 2,
    }  # fmt: skip
    assert shown(json.dumps(entry)) == (
        "FipePriceLoader",
        "WARNING",
        "message failed message_id=m receives=2",
    )


@pytest.mark.parametrize(
    ("message", "level"),
    [
        ("START RequestId: 1 Version: $LATEST\n", "DEBUG"),
        ('{"_aws": {"Timestamp": 1}, "PricesReceived": [3]}', "DEBUG"),
        ("[INFO]\t2026-11-24T17:15:22.707Z\t1\tCreate of SqlInitContents", "INFO"),
        ("[ERROR]\t2026-11-24T17:15:22.707Z\t1\tfailed: no", "ERROR"),
        ("2026-11-24T17:15:22.707Z 1 Task timed out after 300.00 seconds", "ERROR"),
        ("Traceback (most recent call last):", "ERROR"),
        ('{"level": "CRITICAL", "message": "gone"}', "ERROR"),
        ("[1, 2]", "DEBUG"),
    ],
)
def test_a_line_is_as_serious_as_it_says(message: str, level: str):
    assert shown(message)[1] == level


def test_the_lines_of_a_traceback_stay_apart():
    """Lambda's runtime ends them with carriage returns, which on a terminal write one line over the other."""
    assert shown("[ERROR] ValueError: no\rTraceback (most recent call last):\r  File ...\n")[2] == (
        "[ERROR] ValueError: no\nTraceback (most recent call last):\n  File ..."
    )


@pytest.mark.parametrize(
    ("text", "duration"),
    [("30m", timedelta(minutes=30)), ("2h", timedelta(hours=2)), ("3d", timedelta(days=3))],
)
def test_takes_minutes_hours_and_days(text: str, duration: timedelta):
    assert read_duration(text) == duration


@pytest.mark.parametrize("text", ["", "h", "1w", "-1h", "1.5h", "999999999d"])
def test_refuses_another_duration(text: str):
    with pytest.raises(CliError, match="use minutes, hours or days"):
        read_duration(text)
