"""What to do when the source blocks the address that the functions call from."""

from contextlib import suppress

from fipe_cli.cloud import Cloud
from fipe_cli.errors import CliError
from fipe_cli.ledger import read_waits
from fipe_words import _

ANSWERED_REGION = "sa-east-1"


def when_blocked(cloud: Cloud) -> str:
    """Whose address is blocked, and what helps."""
    if cloud.local:
        return _(
            "it blocks the address of this machine: wait, use a proxy (HTTPS_PROXY), or let the mirror answer"
            " meanwhile (PARALLELUM_CALLS_PER_DAY=500); docs/source.md says more"
        )
    region = cloud.session.region_name
    if region == ANSWERED_REGION:
        return _(
            "it blocks the address of the functions in {region}. FIPE is reported to answer functions in"
            " {answered}, and to block those in us-east-1: wait, or let the mirror answer meanwhile"
            " (PARALLELUM_CALLS_PER_DAY=500); docs/source.md says more",
            answered=ANSWERED_REGION,
            region=region,
        )
    return _(
        "it blocks the address of the functions in {region}. FIPE is reported to answer functions in"
        " {answered}, and to block those in us-east-1: deploy the stage in {answered}, or let the mirror"
        " answer meanwhile (PARALLELUM_CALLS_PER_DAY=500); docs/source.md says more",
        region=region,
        answered=ANSWERED_REGION,
    )


def what_helps(cloud: Cloud) -> list[str]:
    """A line for a load that waits because of a block; none if it waits for something else."""
    refusal = None
    with suppress(CliError):  # the load has begun; this is only advice
        refusal = read_waits(cloud).refusal
    return (
        [_("the source: {why}", why=when_blocked(cloud))] if refusal and refusal.reason == "blocked" else []
    )
