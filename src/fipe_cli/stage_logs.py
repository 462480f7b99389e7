"""Shows what the functions of a stage have logged, all in one and in order of time.

    python -m fipe_cli.stage_logs --stage dev [--since 1h] [--function FipePriceLoader] [--level WARNING]

`make logs-dev` calls it. A line shows time, level, function, message, and the other fields of the log entry.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, get_args

import boto3
import typer

from fipe_cli.aws_session import AwsError, aws_errors, aws_session

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LEVELS: tuple[Level, ...] = get_args(Level)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
FOLLOW_SECONDS = 2.0
LATE_SECONDS = 60
"""How much older than the newest line one may be that comes only now."""

# Said by every logger in every line, and known or of no interest here.
_KNOWN_FIELDS = {
    "level", "location", "message", "timestamp", "service", "cold_start", "function_name", "function_arn",
    "function_memory_size", "function_request_id", "xray_trace_id",
}  # fmt: skip


class Line(NamedTuple):
    """A line of a log: when it was written (UTC), by which function, how grave it is, and what it says."""

    at: datetime
    function: str
    level: Level
    text: str


def read_lines(
    session: boto3.Session, stage: str, since: datetime, *, function: str = "", follow: bool = False
) -> Iterator[Line]:
    """The lines of a stage's functions since a time, in order; with `follow`, also those to come, endlessly.

    Raises:
        AwsError: the stage has no logs, or AWS cannot be asked.
    """
    logs = session.client("logs")
    with aws_errors():
        groups = _log_groups(logs, stage, function)
        if not groups:
            raise AwsError(
                f"there is no log of {function or 'Fipe'}*-{stage} in {session.region_name};"
                " is the stage deployed there?"
            )
        seen: set[str] = set()
        while True:
            newest = since
            for event, group in _events(logs, groups, since):
                line = _line(event, group)
                newest = max(newest, line.at)
                if event["eventId"] not in seen:
                    seen.add(event["eventId"])
                    yield line
            if not follow:
                return
            since = max(since, newest - timedelta(seconds=LATE_SECONDS))
            time.sleep(FOLLOW_SECONDS)


def _log_groups(logs: Any, stage: str, function: str) -> list[str]:
    pages = logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix=f"/aws/lambda/{function or 'Fipe'}"
    )
    names = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    return [name for name in names if name.endswith(f"-{stage}")]


def _events(logs: Any, groups: list[str], since: datetime) -> list[tuple[dict[str, Any], str]]:
    """Each event with its group, in order of time."""
    start = int(since.timestamp() * 1000)
    pages = logs.get_paginator("filter_log_events")
    found = [
        (dict(event), group)
        for group in groups
        for page in pages.paginate(logGroupName=group, startTime=start)
        for event in page["events"]
    ]
    return sorted(found, key=lambda entry: int(entry[0]["timestamp"]))


def _line(event: dict[str, Any], group: str) -> Line:
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    function = group.rsplit("/", 1)[-1].rpartition("-")[0]
    message = event["message"].rstrip()
    entry: Any = None
    with suppress(ValueError):
        entry = json.loads(message)
    if not isinstance(entry, dict):
        return Line(at, function, _level_of_plain(message), message)
    if "_aws" in entry:  # a metric
        return Line(at, function, "DEBUG", message)
    level: Level = next((level for level in LEVELS if level == entry.get("level")), "ERROR")
    fields = (f"{name}={value}" for name, value in entry.items() if name not in _KNOWN_FIELDS)
    text = " ".join([str(entry.get("message", "")), *fields])
    return Line(at, function, level, " ".join(text.split()))


def _level_of_plain(message: str) -> Level:
    """The level of a line of the standard logger (`[INFO]...`), of Lambda (START, END), or of an error."""
    for level in LEVELS:
        if message.startswith(f"[{level}]"):
            return level
    is_grave = any(mark in message for mark in ("Task timed out", "Error", "Traceback"))
    return "ERROR" if is_grave else "DEBUG"


def _duration(text: str) -> timedelta:
    """`30m`, `2h` or `3d`. Raises AwsError for another text."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isdecimal():
        raise AwsError(f"SINCE={text}: give minutes, hours or days, like 30m, 2h or 3d")
    return timedelta(**{UNITS[unit]: int(number)})


def main(
    stage: Annotated[str, typer.Option(help="dev, stg or prd.")],
    since: Annotated[str, typer.Option(help="How far back: 30m, 2h, 3d.")] = "1h",
    function: Annotated[str, typer.Option(help="One function, like FipePriceLoader; all by default.")] = "",
    level: Annotated[str, typer.Option(help="The least grave: DEBUG, INFO, WARNING, ERROR.")] = "INFO",
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes.")] = False,
) -> None:
    """Show what the functions of a stage have logged."""
    try:
        if level not in LEVELS:
            raise AwsError(f"LEVEL={level}: give {', '.join(LEVELS)}")
        begin = datetime.now(UTC) - _duration(since)
        for line in read_lines(aws_session(), stage, begin, function=function, follow=follow):
            if LEVELS.index(line.level) >= LEVELS.index(level):
                print(f"{line.at:%Y-%m-%d %H:%M:%S} {line.level:7} {line.function}: {line.text}", flush=True)
    except AwsError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    typer.run(main)
