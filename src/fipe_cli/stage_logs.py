"""What the functions of a stage have logged, in one list, by time."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from fipe_cli.cloud import Cloud
from fipe_cli.errors import USAGE, CliError
from fipe_words import _
from infrastructure import names


class Level(StrEnum):
    """How serious a line is, the least first."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"

    def is_at_least(self, other: "Level") -> bool:
        """Whether it is as serious as another, or more."""
        levels = list(Level)
        return levels.index(self) >= levels.index(other)


UNITS = {"m": "minutes", "h": "hours", "d": "days"}
MOST_DIGITS = 5
"""Of a length of time: 99,999 days lead to the 18th century, and more might lead to before the year 1."""
FOLLOW_SECONDS = 2.0
LATE_SECONDS = 60
"""A line may arrive this much later than a newer one."""

# Every line of the logger has them; they are shown in other ways, or say nothing new.
_KNOWN_FIELDS = {
    "level", "location", "message", "timestamp", "service", "cold_start", "function_name", "function_arn",
    "function_memory_size", "function_request_id", "xray_trace_id",
}  # fmt: skip


class Line(NamedTuple):
    """A line of a log: when it was written (UTC), by which function, how serious it is, and its text."""

    at: datetime
    function: str
    level: Level
    text: str


def read_lines(cloud: Cloud, since: datetime, *, function: str = "", follow: bool = False) -> Iterator[Line]:
    """The lines of a stage's functions since a time, in order; with `follow` also those to come, endlessly.

    Raises:
        CliError: there is no such function, the stage has no logs, or the cloud does not run.
    """
    if not any(known.startswith(function) for known in names.Function):
        raise CliError(
            _(
                "unknown function {function}: use one of {known}",
                function=function,
                known=", ".join(names.Function),
            ),
            USAGE,
        )
    logs = cloud.client("logs")
    groups = _log_groups(logs, cloud.stage, function)
    if not groups:
        raise CliError(
            _(
                "there is no log of {function}*-{stage}: {cloud} is not deployed; run `{command}`",
                function=function or "Fipe",
                stage=cloud.stage,
                cloud=cloud.name,
                command=cloud.deploy_command,
            )
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
        logGroupNamePrefix=names.log_group(function or "Fipe")
    )
    found = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    return [name for name in found if name.endswith(f"-{stage}")]


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
    # The runtime writes the lines of one message with carriage returns, which would overprint on a terminal.
    message = event["message"].rstrip().replace("\r", "\n")
    entry: Any = None
    with suppress(ValueError):
        entry = json.loads(message)
    if not isinstance(entry, dict):
        return Line(at, function, _level_of_plain(message), message)
    if "_aws" in entry:  # a metric
        return Line(at, function, Level.DEBUG, message)
    level = next((level for level in Level if level == entry.get("level")), Level.ERROR)
    fields = (f"{name}={value}" for name, value in entry.items() if name not in _KNOWN_FIELDS)
    text = " ".join([str(entry.get("message", "")), *fields])
    return Line(at, function, level, " ".join(text.split()))


def _level_of_plain(message: str) -> Level:
    """The level of a line of the standard logger (`[INFO]...`), of Lambda (START, END), or of an error."""
    for level in Level:
        if message.startswith(f"[{level}]"):
            return level
    failed = any(mark in message for mark in ("Task timed out", "Error", "Traceback"))
    return Level.ERROR if failed else Level.DEBUG


def read_duration(text: str) -> timedelta:
    """`30m`, `2h` or `3d` as a length of time. Raises CliError for another text."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isdecimal() or len(number) > MOST_DIGITS:
        raise CliError(
            _("invalid time {text!r}: use minutes, hours or days, like 30m, 2h or 3d", text=text), USAGE
        )
    return timedelta(**{UNITS[unit]: int(number)})
