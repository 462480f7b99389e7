"""What to do when the source blocks the address that the functions call from."""

from contextlib import suppress

from fipe_cli.cloud import Cloud
from fipe_cli.errors import CliError
from fipe_cli.ledger import read_waits

ANSWERED_REGION = "sa-east-1"
_MIRROR = "or let the mirror answer meanwhile (PARALLELUM_CALLS_PER_DAY=500); docs/source.md says more"


def when_blocked(cloud: Cloud) -> str:
    """Whose address is blocked, and what helps."""
    if cloud.local:
        return f"it blocks the address of this machine: wait, use a proxy (HTTPS_PROXY), {_MIRROR}"
    region = cloud.session.region_name
    first = "wait" if region == ANSWERED_REGION else f"deploy the stage in {ANSWERED_REGION}"
    return (
        f"it blocks the address of the functions in {region}. FIPE is reported to answer functions in"
        f" {ANSWERED_REGION}, and to block those in us-east-1: {first}, {_MIRROR}"
    )


def what_helps(cloud: Cloud) -> list[str]:
    """A line for a load that waits because of a block; none if it waits for something else."""
    refusal = None
    with suppress(CliError):  # the load has begun; this is only advice
        refusal = read_waits(cloud).refusal
    return [f"the source: {when_blocked(cloud)}"] if refusal and refusal.reason == "blocked" else []
