"""All checks of a stage. Those that do not need each other run at the same time."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial

from botocore.exceptions import ClientError

from fipe_cli.background import in_background
from fipe_cli.check.database import MASTER, look_at_master, look_at_sign_in
from fipe_cli.check.dead_letters import Door, count_letters, try_the_way
from fipe_cli.check.deployment import Deployment, look_at_stack
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.functions import Examined, examine, look_at_concurrency
from fipe_cli.check.lake import LAKE, look_at_lake
from fipe_cli.check.operations import (
    look_at_alarms,
    look_at_announcements,
    look_at_list,
    look_at_schedule,
    look_at_topic,
    read_pace,
)
from fipe_cli.check.queues import Source, look_at_event_source, look_at_queue
from fipe_cli.check.sources import look_at_sources
from fipe_cli.progress import Waits
from fipe_words import _
from infrastructure.names import Function, Queue

LOADERS = (Function.MANUFACTURER_LOADER, Function.MODEL_LOADER, Function.PRICE_LOADER)
AT_DATABASE = (Function.SOMA_INGESTOR, Function.LOAD_STATUS, Function.QUERY)


def check_stage(deployment: Deployment) -> Iterator[Finding]:
    """What each check finds: in the same order each time, and as soon as it is known.

    Raises:
        BotoCoreError: the cloud cannot be reached any more.
    """
    if deployment.never_was:
        yield from look_at_stack(deployment)
        return
    door = Door()
    try:
        yield from _check(deployment, door)
    finally:
        door.close()


def _check(deployment: Deployment, door: Door) -> Iterator[Finding]:
    functions = {
        function: in_background(partial(_examine, deployment, function)) for function in deployment.functions
    }
    event_sources = {
        queue: in_background(partial(_look_at_event_source, deployment, queue)) for queue in deployment.queues
    }
    letters = {queue: in_background(partial(count_letters, deployment, queue)) for queue in deployment.queues}
    queues = [
        in_background(
            partial(
                _safely, _("{queue} queue", queue=queue), look_at_queue, deployment, queue, letters[queue]
            )
        )
        for queue in deployment.queues
    ]
    master = in_background(partial(_safely, _(MASTER), look_at_master, deployment))
    others = [
        in_background(partial(_safely, part, look, deployment))
        for part, look in (
            (_("account"), look_at_concurrency),
            (_("alarms"), look_at_alarms),
            (_("topic of the alarms"), look_at_topic),
            (_("schedule"), look_at_schedule),
            (_("list of months"), look_at_list),
        )
    ]
    ways = [
        in_background(
            partial(_try_the_way, deployment, queue, letters[queue], source, functions[queue.consumer], door)
        )
        for queue, source in event_sources.items()
    ]

    yield from look_at_stack(deployment)
    for examined in functions.values():
        yield from examined.result().findings
    facts = {function: examined.result().facts for function, examined in functions.items()}
    # Only now: the loaders' calls may have taught the pace something.
    found, waits = _read_pace(deployment)
    yield from look_at_sources(deployment.cloud, {loader: facts[loader] for loader in LOADERS}, waits)
    yield from found
    for function in [each for each in AT_DATABASE if each in facts]:
        yield from look_at_sign_in(deployment.cloud, function, facts[function])
    yield from _safely(_(LAKE), look_at_lake, deployment, facts.get(Function.LAKE_WRITER))
    yield from master.result()
    status = facts[Function.LOAD_STATUS]
    if status and status.database and not status.database.error:
        yield from look_at_announcements(deployment)
    for several in queues:
        yield from several.result()
    for event_source in event_sources.values():
        yield event_source.result()[0]
    for several in others:
        yield from several.result()
    for way in ways:
        yield from way.result()


def _safely(part: str, look: Callable[..., list[Finding]], *given: object) -> list[Finding]:
    """What a check finds; that AWS refuses its call is a finding, too."""
    try:
        return look(*given)
    except ClientError as error:
        return [_refused(part, error)]


def _refused(part: str, error: ClientError) -> Finding:
    is_denied = any(word in error.response["Error"]["Code"] for word in ("Denied", "Unauthorized"))
    rights = _("your AWS identity needs more rights (docs/deploy.md lists them)") if is_denied else ""
    return Finding(Level.FAILED, part, _("AWS refuses: {error}", error=str(error).rstrip(".")), rights)


def _examine(deployment: Deployment, function: Function) -> Examined:
    try:
        return examine(deployment, function)
    except ClientError as error:
        return Examined([_refused(function, error)])


def _read_pace(deployment: Deployment) -> tuple[list[Finding], Waits | None]:
    try:
        return read_pace(deployment)
    except ClientError as error:
        return [_refused(_("pace table"), error)], None


def _look_at_event_source(deployment: Deployment, queue: Queue) -> tuple[Finding, Source]:
    try:
        return look_at_event_source(deployment, queue)
    except ClientError as error:
        part = _("event source of {function}", function=queue.consumer)
        return _refused(part, error), Source(works=False)


def _try_the_way(
    deployment: Deployment,
    queue: Queue,
    letters: "Future[int]",
    event_source: "Future[tuple[Finding, Source]]",
    consumer: "Future[Examined]",
    door: Door,
) -> list[Finding]:
    answers = consumer.result().facts is not None
    source = event_source.result()[1]
    part = _("{queue} DLQ and back", queue=queue)
    return _safely(
        part, lambda: [try_the_way(deployment, queue, letters, source, door, consumer_answers=answers)]
    )
