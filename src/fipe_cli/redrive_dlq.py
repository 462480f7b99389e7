"""Shows what lies in the dead letter queues and why, and moves it back to be worked on again.

    python -m fipe_cli.redrive_dlq --stage dev --queue price [--dry-run] [--rate 20]

`make redrive-dev QUEUE=price [DRY_RUN=1] [RATE=20]` calls it. SQS itself moves them (StartMessageMoveTask):
it goes on when this command is interrupted, and the same command called again follows it.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import boto3
import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fipe_cli.aws_session import AwsError, aws_errors, aws_session

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import ListMessageMoveTasksResultEntryTypeDef, MessageTypeDef

QueueKind = Literal["manufacturer", "model", "price"]
KINDS: tuple[QueueKind, ...] = get_args(QueueKind)
CONSUMERS: dict[QueueKind, str] = {
    "manufacturer": "FipeModelLoader",
    "model": "FipePriceLoader",
    "price": "FipeSomaIngestor",
}
"""The function that each queue feeds, whose log says why it failed."""

RECEIVE_LIMIT = 10
PEEK_SECONDS = 30
"""How long a message that is looked at is out of sight of everybody else, should this command be ended."""
FOLLOW_SECONDS = 1.0
UNKNOWN_REASON = "nothing in the log: a timeout, a crash, or the log is gone"


class RedriveError(AwsError):
    """The messages could not be moved; one line says why."""


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead letter queue.

    Attributes:
        body: the message as it was sent.
        receives: how often it was received, here included.
        sent_at: when it was first sent; a dead letter queue counts its age from then.
        reason: the last error that its function logged for it.
    """

    message_id: str
    body: str
    receives: int
    sent_at: datetime
    reason: str


@dataclass(frozen=True)
class Move:
    """How far SQS is with moving a dead letter queue's messages."""

    moved: int
    to_move: int
    is_over: bool


class DeadLetterQueue:
    """The dead letter queue of one of a stage's queues.

    Raises:
        RedriveError: there is no such queue.
        AwsError: AWS cannot be asked.
    """

    def __init__(self, session: boto3.Session, stage: str, kind: QueueKind) -> None:
        self.name = f"fipe-{kind}-dlq-{stage}"
        self._sqs = session.client("sqs")
        self._logs = session.client("logs")
        self._log_group = f"/aws/lambda/{CONSUMERS[kind]}-{stage}"
        with aws_errors():
            try:
                self._url = self._sqs.get_queue_url(QueueName=self.name)["QueueUrl"]
                self._source_url = self._sqs.get_queue_url(QueueName=f"fipe-{kind}-queue-{stage}")["QueueUrl"]
            except self._sqs.exceptions.QueueDoesNotExist as error:
                raise RedriveError(
                    f"there is no queue {self.name} in {session.region_name}; is the stage deployed there?"
                ) from error

    def depth(self) -> int:
        """The messages that can be moved now, as far as SQS knows: it is right within a minute."""
        with aws_errors():
            return int(self._attribute(self._url, "ApproximateNumberOfMessages"))

    def peek(self, limit: int = RECEIVE_LIMIT) -> list[DeadLetter]:
        """Some of the messages with the reasons, which stay where they are."""
        seen: dict[str, MessageTypeDef] = {}
        with aws_errors():
            try:
                while len(seen) < limit and (found := self._receive(limit - len(seen))):
                    seen |= {message["MessageId"]: message for message in found}
                return [self._described(message) for message in seen.values()]
            finally:
                self._put_back(list(seen.values()))

    def redrive(self, rate: int | None = None) -> Iterator[Move]:
        """Has SQS move all messages back, and tells how far it is until that is over.

        A move that runs already is followed; SQS allows one a queue.

        Args:
            rate: messages a second, 1 to 500; None leaves it to SQS.

        Raises:
            RedriveError: SQS gave up.
        """
        with aws_errors():
            running = self._newest_task()
            if running is None or running["Status"] != "RUNNING":
                # The target is named, though it is where messages go anyway: without it SQS refuses
                # a message that did not come from there by itself but was sent to the DLQ by hand.
                self._sqs.start_message_move_task(
                    SourceArn=self._arn,
                    DestinationArn=self._attribute(self._source_url, "QueueArn"),
                    **({} if rate is None else {"MaxNumberOfMessagesPerSecond": rate}),
                )
            while True:
                task = self._newest_task()
                move = _move(task)
                yield move
                if move.is_over:
                    break
                time.sleep(FOLLOW_SECONDS)
        if task is not None and task["Status"] != "COMPLETED":
            reason = task.get("FailureReason", "it was cancelled")
            raise RedriveError(f"{self.name}: SQS stopped after {move.moved} messages: {reason}")

    @cached_property
    def _arn(self) -> str:
        return self._attribute(self._url, "QueueArn")

    def _attribute(self, url: str, name: Literal["QueueArn", "ApproximateNumberOfMessages"]) -> str:
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return answer["Attributes"][name]

    def _newest_task(self) -> "ListMessageMoveTasksResultEntryTypeDef | None":
        return next(iter(self._sqs.list_message_move_tasks(SourceArn=self._arn)["Results"]), None)

    def _receive(self, limit: int) -> "Sequence[MessageTypeDef]":
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(limit, RECEIVE_LIMIT),
            VisibilityTimeout=PEEK_SECONDS,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            WaitTimeSeconds=1,
        )
        return answer.get("Messages", [])

    def _put_back(self, messages: "Sequence[MessageTypeDef]") -> None:
        """Makes messages visible at once: those in flight would not be moved."""
        for message in messages:
            with suppress(ClientError):  # its time was up, and it is visible already
                self._sqs.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                )

    def _described(self, message: "MessageTypeDef") -> DeadLetter:
        sent_ms = int(message["Attributes"]["SentTimestamp"])
        return DeadLetter(
            message_id=message["MessageId"],
            body=message["Body"],
            receives=int(message["Attributes"]["ApproximateReceiveCount"]),
            sent_at=datetime.fromtimestamp(sent_ms / 1000, UTC),
            reason=self._reason(message["MessageId"], sent_ms),
        )

    def _reason(self, message_id: str, sent_ms: int) -> str:
        """The newest error logged for a message: SQS keeps its id on the way to the dead letter queue."""
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=self._log_group, startTime=sent_ms, filterPattern=f'"{message_id}"'
        )
        try:
            lines = [event["message"] for page in pages for event in page["events"]]
        except self._logs.exceptions.ResourceNotFoundException:
            return UNKNOWN_REASON
        return next((error for error in map(_logged_error, reversed(lines)) if error), UNKNOWN_REASON)


def _logged_error(line: str) -> str | None:
    try:
        entry: Any = json.loads(line)
    except ValueError:
        return None
    # An error of a message's validation has a line for each fault.
    return " ".join(str(entry["error"]).split()) if isinstance(entry, dict) and "error" in entry else None


def _move(task: "ListMessageMoveTasksResultEntryTypeDef | None") -> Move:
    if task is None:  # SQS has not noted it yet
        return Move(0, 0, is_over=False)
    moved = task.get("ApproximateNumberOfMessagesMoved", 0)
    to_move = max(moved, task.get("ApproximateNumberOfMessagesToMove", 0))
    return Move(moved, to_move, is_over=task["Status"] not in ("RUNNING", "CANCELLING"))


# The command ------------------------------------------------------------------------------------------------


def show(queue: DeadLetterQueue, console: Console) -> bool:
    """Prints how many messages there are, and of the first ten what they are and why they failed.

    Returns:
        Whether there is any. The queue's depth lags behind: right after a look it may count none.
    """
    letters = queue.peek()
    depth = max(queue.depth(), len(letters))
    console.print(f"{queue.name}: {depth} message{'' if depth == 1 else 's'}")
    if not letters:
        return depth > 0
    table = Table("first sent", "receives", "message", "reason", box=None, padding=(0, 2, 0, 2))
    for letter in letters:
        table.add_row(
            f"{letter.sent_at:%Y-%m-%d %H:%M}",
            str(letter.receives),
            # As they are: Rich would read its markup in them.
            Text(_subject(letter.body)),
            Text(letter.reason),
        )
    console.print(table)
    for reason, count in Counter(letter.reason for letter in letters).most_common():
        console.print(f"  {count} of {len(letters)} looked at: {reason}", markup=False, emoji=False)
    return True


def move_back(queue: DeadLetterQueue, rate: int | None, console: Console) -> int:
    """Moves everything back and shows the progress; the number of messages moved."""
    columns = TextColumn(queue.name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    move = Move(0, 0, is_over=True)
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(queue.name, total=None)
        for move in queue.redrive(rate):
            progress.update(bar, completed=move.moved, total=move.to_move or None)
    console.print(f"{queue.name}: {move.moved} moved back")
    return move.moved


def _subject(body: str) -> str:
    """What a message is about, in a few words; the beginning of a text that is no message of ours."""
    try:
        message = json.loads(body)
        parts = [message["reference"]["month"][:7], message["brand"]["name"]]
        if "model" in message:
            parts.append(message["model"]["name"])
        return " ".join(parts)
    except (ValueError, TypeError, KeyError):
        return body if len(body) <= 40 else f"{body[:39]}…"


def main(
    stage: Annotated[str, typer.Option(help="dev, stg or prd.")],
    queue: Annotated[str, typer.Option(help="manufacturer, model, price, or all of them.")] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is there, and why.")] = False,
    rate: Annotated[
        int | None, typer.Option(help="Messages a second, 1 to 500; SQS decides without it.", min=1, max=500)
    ] = None,
) -> None:
    """Show the dead letters of a stage with their reasons, and move them back to their queues."""
    console = Console(soft_wrap=True, highlight=False)
    kinds = KINDS if queue == "all" else tuple(kind for kind in KINDS if kind == queue)
    try:
        if not kinds:
            raise RedriveError(f"QUEUE={queue}: give {', '.join(KINDS)} or all")
        session = aws_session()
        for dead_letters in [DeadLetterQueue(session, stage, kind) for kind in kinds]:
            if show(dead_letters, console) and not dry_run:
                move_back(dead_letters, rate, console)
    except AwsError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; a move that has begun goes on in AWS, and the same command follows it")


if __name__ == "__main__":
    typer.run(main)
