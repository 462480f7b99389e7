"""Whether complete months are written into a bucket, if the stage does that."""

from fipe_api.aws.self_check import Facts
from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.functions import one_line
from fipe_cli.function_words import understood
from fipe_words import _, marked
from infrastructure.names import Function

LAKE = marked("Parquet in a bucket")


def look_at_lake(deployment: Deployment, facts: Facts | None) -> list[Finding]:
    """Whether the writer reaches the database and the bucket.

    Args:
        deployment: the stage.
        facts: what the writer answered; None if it did not, or there is none.
    """
    part = _(LAKE)
    if Function.LAKE_WRITER not in deployment.functions:
        return [Finding(Level.OK, part, _("none is written; EXPORT_BUCKET=... at a deploy would"))]
    if facts is None or facts.database is None:
        look = _("see {function} above", function=Function.LAKE_WRITER)
        return [Finding(Level.FAILED, part, _("not looked at"), look)]
    if facts.database.error:
        mend = _("docs/deploy.md says what it needs: the S3 endpoint, the bucket in this region, its policy")
        return [Finding(Level.FAILED, part, one_line(facts.database.error), mend)]
    return [Finding(Level.OK, part, understood(facts.database.done))]
