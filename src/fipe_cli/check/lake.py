"""Whether complete months are written into a bucket, if the stage does that."""

from fipe_api.aws.self_check import Facts
from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.functions import one_line
from fipe_cli.function_words import understood
from fipe_words import _, counted, marked
from infrastructure.names import Function, OptionalQueue

LAKE = marked("Parquet in a bucket")


def has_lake(deployment: Deployment) -> bool:
    """Whether the stage was deployed with EXPORT_BUCKET."""
    return Function.LAKE_WRITER in deployment.functions


def look_at_lake(deployment: Deployment, facts: Facts | None) -> list[Finding]:
    """Whether the writer reaches the database and the bucket, and has written what it was told.

    Args:
        deployment: the stage.
        facts: what the writer answered; None if it did not, or there is none.
    """
    part = _(LAKE)
    if not has_lake(deployment):
        return [Finding(Level.OK, part, _("none is written; EXPORT_BUCKET=... at a deploy would"))]
    if facts is None or facts.database is None:
        look = _("see {function} above", function=Function.LAKE_WRITER)
        return [Finding(Level.FAILED, part, _("not looked at"), look)]
    if facts.database.error:
        mend = _("docs/deploy.md says what it needs: the S3 endpoint, the bucket in this region, its policy")
        return [Finding(Level.FAILED, part, one_line(facts.database.error), mend)]
    depth = deployment.cloud.queue_depth(OptionalQueue.EXPORT)
    if depth.dead:
        seen = _("{letters}: months that could not be written", letters=counted(depth.dead, "dead letter"))
        return [Finding(Level.FAILED, part, seen, deployment.look_at_logs(Function.LAKE_WRITER))]
    done = understood(facts.database.done)
    seen = _("{done}; {messages} waiting", done=done, messages=counted(depth.messages, "message"))
    return [Finding(Level.OK, part, seen)]
