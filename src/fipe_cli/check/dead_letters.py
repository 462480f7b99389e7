"""A dead letter's way: a message made for the check goes into a DLQ, and back to the queue's function.

`fipe redrive` moves dead letters in the same way. The function drops the message and logs its id, so nothing
is left behind, even if the command is interrupted.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from uuid import uuid4

from botocore.exceptions import ClientError

from fipe_api.aws.self_check import DROPPED, KEY
from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.functions import one_line
from fipe_cli.check.queues import Source
from fipe_cli.errors import CliError
from fipe_cli.progress import duration
from fipe_cli.redrive_dlq import DeadLetterQueue, Move
from fipe_words import _, marked, plural
from infrastructure import names
from infrastructure.names import Queue

PATIENCE_SECONDS = 90.0
"""How long the way may take besides the event source's batching window: SQS starts a move after seconds, and
CloudWatch Logs shows a line after seconds."""
LOOK_SECONDS = 1.0
MOVE_AGAIN_SECONDS = 20.0
"""A move may overlook a message that was sent a moment ago: SQS keeps its messages on many servers."""
RUN_AGAIN = marked("run the check again when no load runs")


class Door:
    """Through it, messages are sent on their way. A command that ends closes it, and leaves none in a DLQ."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False

    def send(self, dead: DeadLetterQueue, body: str) -> Iterator[Move]:
        """Sends a message into a DLQ and begins its way back; the rest of the way.

        Raises:
            ClientError: SQS does not begin it. The message is deleted again.
            CliError: the command ends.
        """
        with self._lock:
            if self._is_closed:
                raise CliError(_("the check was interrupted"))
            dead.send(body)
            moves = dead.redrive()
            try:
                next(moves)
            except ClientError:
                dead.remove(body)
                raise
            return moves

    def close(self) -> None:
        """Lets no more messages through; waits until what was sent is on its way back."""
        with self._lock:
            self._is_closed = True


def count_letters(deployment: Deployment, queue: Queue) -> int:
    """How many dead letters a queue has, without the messages of checks. Raises CliError if it is missing."""
    return DeadLetterQueue(deployment.cloud, queue).letters()


def try_the_way(
    deployment: Deployment,
    queue: Queue,
    letters: Future[int],
    source: Source,
    door: Door,
    *,
    consumer_answers: bool,
) -> Finding:
    """Sends a message on its way, and waits until the function has dropped it.

    Args:
        deployment: the stage.
        queue: which queue.
        letters: how many dead letters it has.
        source: what brings the function its messages.
        door: sends the message.
        consumer_answers: whether the function works. If it did not, the message would become a dead letter.
    """
    part = _("{queue} DLQ and back", queue=queue)
    if not (source.works and consumer_answers):
        why = _("see {consumer} and its event source above", consumer=queue.consumer)
        return Finding(
            Level.FAILED, part, _("not tried: {consumer} does not get messages", consumer=queue.consumer), why
        )
    try:
        return _try(deployment, queue, letters, source, door, part)
    except CliError as error:
        return Finding(Level.FAILED, part, one_line(error), deployment.look_at_logs(queue.consumer))


def _try(
    deployment: Deployment, queue: Queue, letters: Future[int], source: Source, door: Door, part: str
) -> Finding:
    if found := letters.result():
        seen = plural(
            "not tried, as it would move {number:,} dead letter back",
            "not tried, as it would move {number:,} dead letters back",
            found,
        )
        return Finding(Level.WARNING, part, seen, f"`fipe --stage {deployment.stage} redrive {queue}`")
    before = deployment.cloud.queue_depth(queue)
    # The function gets a batch's messages together. Those in flight do not come before it: after a fault
    # they stay hidden for up to half an hour, and nobody works on them.
    if before.waiting >= source.batch:
        seen = plural(
            "not tried: {number:,} message would come before it",
            "not tried: {number:,} messages would come before it",
            before.waiting,
        )
        return Finding(Level.WARNING, part, seen, _(RUN_AGAIN))
    dead = DeadLetterQueue(deployment.cloud, queue)
    check_id, begun = str(uuid4()), time.time()
    _finish(door.send(dead, f'{{"{KEY}": "{check_id}"}}'))
    until = begun + source.window + PATIENCE_SECONDS
    move_again = begun + MOVE_AGAIN_SECONDS
    while not _is_dropped(deployment, queue, check_id, begun):
        if time.time() > move_again and dead.depth():
            _finish(dead.redrive())
            move_again += MOVE_AGAIN_SECONDS
        if time.time() > until:
            said = {
                "consumer": queue.consumer,
                "check_id": check_id,
                "duration": duration(until - begun),
            }
            if others := before.waiting + before.in_flight:
                seen = plural(
                    "{consumer} did not log the message {check_id} within {duration}: it may be busy with"
                    " {number:,} other message",
                    "{consumer} did not log the message {check_id} within {duration}: it may be busy with"
                    " {number:,} other messages",
                    others,
                    **said,
                )
                return Finding(Level.WARNING, part, seen, _(RUN_AGAIN))
            seen = _("{consumer} did not log the message {check_id} within {duration}", **said)
            return Finding(Level.FAILED, part, seen, deployment.look_at_logs(queue.consumer))
        time.sleep(LOOK_SECONDS)
    took = duration(time.time() - begun)
    return Finding(
        Level.OK,
        part,
        _(
            "a message came back to {consumer}, which dropped it, in {took}",
            consumer=queue.consumer,
            took=took,
        ),
    )


def _finish(moves: Iterator[Move]) -> None:
    for _move in moves:
        pass


def _is_dropped(deployment: Deployment, queue: Queue, check_id: str, since: float) -> bool:
    logs = deployment.cloud.client("logs")
    group = names.log_group(queue.consumer.of(deployment.stage))
    try:
        found = logs.filter_log_events(
            logGroupName=group, startTime=int((since - 60) * 1000), filterPattern=f'"{check_id}"'
        )
    except logs.exceptions.ResourceNotFoundException as error:
        raise CliError(
            _("the log group {group} is missing, so nothing says whether it came back", group=group)
        ) from error
    return any(DROPPED in event["message"] for event in found["events"])
