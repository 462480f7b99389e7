"""Shows the dead letters with their reasons, and moves them back to be worked on again.

SQS itself moves them (StartMessageMoveTask). A move continues if the command is interrupted; run the same
command again to follow it.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fipe_api.aws.self_check import is_check
from fipe_api.load.announcement import Kind
from fipe_api.messages import LookMessage, to_json
from fipe_cli.cloud import Cloud
from fipe_cli.errors import INTERRUPTED, CliError
from fipe_words import _, counted, marked, plural
from infrastructure import names
from infrastructure.names import OPTIONAL_QUEUES, Queue

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import ListMessageMoveTasksResultEntryTypeDef, MessageTypeDef

RECEIVE_LIMIT = 10
PEEK_SECONDS = 30
"""How long a message stays hidden if this command dies while it looks at the message."""
POLL_SECONDS = 1
"""More than none, and SQS asks all servers that have messages of the queue."""
FOLLOW_SECONDS = 1.0
LOOKS = 4
"""How often messages that somebody else hides are looked at again."""
UNKNOWN_REASON = marked("no error in the log: the function timed out or crashed, or the log was deleted")
ANNOUNCEMENTS = get_args(Kind)

_Count = Literal["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


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
        CliError: the cloud does not run, or the stage is not deployed there.
    """

    def __init__(self, cloud: Cloud, queue: Queue) -> None:
        self.queue = queue
        self.name = queue.dlq(cloud.stage)
        self._sqs = cloud.client("sqs")
        self._logs = cloud.client("logs")
        self._log_group = names.log_group(queue.consumer.of(cloud.stage))
        try:
            self._url = self._sqs.get_queue_url(QueueName=self.name)["QueueUrl"]
            self._source_url = self._sqs.get_queue_url(QueueName=queue.of(cloud.stage))["QueueUrl"]
        except ClientError as error:
            raise cloud.explained(error, _("queue {name}", name=self.name)) from error

    def depth(self) -> int:
        """The messages that can be moved now; SQS counts them up to a minute late."""
        return self._count("ApproximateNumberOfMessages")

    def peek(self, limit: int = RECEIVE_LIMIT) -> list[DeadLetter]:
        """Some of the messages with their reasons; they stay where they are."""
        with self._looked_at(limit) as messages:
            return [self._described(message) for message in messages]

    def letters(self) -> int:
        """Counts the dead letters; a message that a check has on its way through the queue is none."""
        hidden = 0
        for look in range(LOOKS):
            if look:
                time.sleep(FOLLOW_SECONDS)
            with self._looked_at(RECEIVE_LIMIT) as messages:
                checks = sum(is_check(message["Body"]) for message in messages)
            hidden = self._count("ApproximateNumberOfMessagesNotVisible")
            if len(messages) > checks:
                return max(len(messages), self.depth() + hidden) - checks
            # Whoever else looks at messages hides them meanwhile, as another check does.
            if not hidden:
                return 0
        return hidden

    def send(self, body: str) -> None:
        """Puts a message into the dead letter queue."""
        self._sqs.send_message(QueueUrl=self._url, MessageBody=body)

    def remove(self, body: str) -> None:
        """Deletes a message that was sent a moment ago."""
        received = self._receive(RECEIVE_LIMIT)
        for message in received:
            if message["Body"] == body:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        self._put_back([message for message in received if message["Body"] != body])

    def redrive(self, rate: int | None = None) -> Iterator[Move]:
        """Has SQS move all messages back, and says how far it is until it ends.

        Follows a move that runs already: SQS allows one per queue.

        Args:
            rate: messages per second, 1 to 500; None lets SQS decide.

        Raises:
            CliError: SQS gave up.
        """
        running = self._newest_task()
        if running is None or running["Status"] != "RUNNING":
            # Messages go to this target anyway. But without it, SQS refuses messages that were sent directly
            # to the DLQ.
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
            reason = task.get("FailureReason", _("it was cancelled"))
            raise CliError(
                _(
                    "{name}: SQS stopped after {moved} messages: {reason}",
                    name=self.name,
                    moved=move.moved,
                    reason=reason,
                )
            )

    @cached_property
    def _arn(self) -> str:
        return self._attribute(self._url, "QueueArn")

    def _count(self, name: _Count) -> int:
        return int(self._attribute(self._url, name))

    def _attribute(self, url: str, name: Literal["QueueArn"] | _Count) -> str:
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        value: str = answer["Attributes"][name]
        return value

    def _newest_task(self) -> "ListMessageMoveTasksResultEntryTypeDef | None":
        return next(iter(self._sqs.list_message_move_tasks(SourceArn=self._arn)["Results"]), None)

    @contextmanager
    def _looked_at(self, limit: int) -> "Iterator[Sequence[MessageTypeDef]]":
        """Some of the messages, which nobody else sees while the block runs."""
        seen: dict[str, MessageTypeDef] = {}
        try:
            while len(seen) < limit and (found := self._receive(limit - len(seen))):
                seen |= {message["MessageId"]: message for message in found}
            yield list(seen.values())
        finally:
            self._put_back(list(seen.values()))

    def _receive(self, limit: int) -> "Sequence[MessageTypeDef]":
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(limit, RECEIVE_LIMIT),
            VisibilityTimeout=PEEK_SECONDS,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            WaitTimeSeconds=POLL_SECONDS,
        )
        messages: Sequence[MessageTypeDef] = answer.get("Messages", [])
        return messages

    def _put_back(self, messages: "Sequence[MessageTypeDef]") -> None:
        """Makes messages visible at once: SQS does not move what is in flight."""
        for message in messages:
            with suppress(ClientError):  # it is visible again already
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
            return _(UNKNOWN_REASON)
        return next((error for error in map(_logged_error, reversed(lines)) if error), _(UNKNOWN_REASON))


def _logged_error(line: str) -> str | None:
    try:
        entry: Any = json.loads(line)
    except ValueError:
        return None
    # The error of a message that fails its validation has one line per fault.
    return " ".join(str(entry["error"]).split()) if isinstance(entry, dict) and "error" in entry else None


def _move(task: "ListMessageMoveTasksResultEntryTypeDef | None") -> Move:
    if task is None:  # SQS does not list it yet
        return Move(0, 0, is_over=False)
    moved = task.get("ApproximateNumberOfMessagesMoved", 0)
    to_move = max(moved, task.get("ApproximateNumberOfMessagesToMove", 0))
    return Move(moved, to_move, is_over=task["Status"] not in ("RUNNING", "CANCELLING"))


def show(queue: DeadLetterQueue, console: Console) -> bool:
    """Prints how many messages there are, and what the first ten are and why they failed.

    Returns:
        Whether there are any. The queue's depth lags behind: right after a look it may be 0.
    """
    letters = queue.peek()
    depth = max(queue.depth(), len(letters))
    console.print(f"{queue.name}: {counted(depth, 'message')}")
    if not letters:
        return depth > 0
    table = Table(_("first sent"), _("receives"), _("message"), _("reason"), box=None, padding=(0, 2, 0, 2))
    for letter in letters:
        table.add_row(
            f"{letter.sent_at:%Y-%m-%d %H:%M}",
            str(letter.receives),
            # As Text: Rich would read markup in plain strings.
            Text(_subject(letter.body)),
            Text(letter.reason),
        )
    console.print(table)
    for reason, count in Counter(letter.reason for letter in letters).most_common():
        console.print(
            "  "
            + _("{count} of {letters} looked at: {reason}", count=count, letters=len(letters), reason=reason),
            markup=False,
            emoji=False,
        )
    return True


def move_back(queue: DeadLetterQueue, rate: int | None, console: Console) -> int:
    """Moves all messages back and shows the progress; the number of messages moved. CliError on Ctrl-C."""
    columns = TextColumn(queue.name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    move = Move(0, 0, is_over=True)
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task(queue.name, total=None)
            for move in queue.redrive(rate):
                progress.update(bar, completed=move.moved, total=move.to_move or None)
    except KeyboardInterrupt:
        raise CliError(
            _("interrupted: SQS goes on moving; run the same command to follow it"), INTERRUPTED
        ) from None
    console.print(
        plural("{name}: {number} moved back", "{name}: {number} moved back", move.moved, name=queue.name)
    )
    return move.moved


def dead_letter_queues(cloud: Cloud, wanted: str) -> list[DeadLetterQueue]:
    """The dead letter queue of one queue, or all that the stage has.

    Raises:
        CliError: it is missing.
    """
    if wanted != "all":
        return [DeadLetterQueue(cloud, Queue(wanted))]
    found = []
    for queue in Queue:
        with suppress(CliError) if queue in OPTIONAL_QUEUES else nullcontext():
            found.append(DeadLetterQueue(cloud, queue))
    return found


def look_at_loads(cloud: Cloud) -> None:
    """Has FipeAnnouncer look after all loads: those that go on now, and what is still to be told.

    Raises:
        CliError: its queue is missing, or AWS refuses.
    """
    name, sqs = Queue.ANNOUNCEMENT.of(cloud.stage), cloud.client("sqs")
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=to_json(LookMessage(began_at=datetime.now(UTC))))
    except ClientError as error:
        raise cloud.explained(error, _("queue {name}", name=name)) from error


def _subject(body: str) -> str:
    """What a message is about, in a few words; for any other text, its beginning."""
    try:
        message = json.loads(body)
        if isinstance(message, dict) and message.get("kind") == "start":
            return _("the start of run {run_id}", run_id=message["run_id"])
        if isinstance(message, dict) and message.get("kind") == "codes":
            return _("the FIPE codes of run {run_id}", run_id=message["run_id"])
        if isinstance(message, dict) and message.get("kind") == "list_ended":
            return _("the end of the list of months of run {run_id}", run_id=message["run_id"])
        if isinstance(message, dict) and message.get("kind") == "look":
            return _("a look at a load's news")
        if isinstance(message, dict) and message.get("kind") in ANNOUNCEMENTS:
            return " ".join(filter(None, (message["kind"], message["reference_month"])))
        parts = [message["reference"]["month"][:7], message["brand"]["name"]]
        if "model" in message:
            parts.append(message["model"]["name"])
        return " ".join(parts)
    except (ValueError, TypeError, KeyError):
        return body if len(body) <= 40 else f"{body[:39]}…"
