"""The sources, from where the loaders call them."""

from collections.abc import Mapping
from typing import NamedTuple

from fipe_api.aws.self_check import Facts, SourceFacts
from fipe_cli.blocked import when_blocked
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.functions import one_line
from fipe_cli.cloud import Cloud
from fipe_cli.progress import Waits, counted
from infrastructure.names import Function

NAMES = {"fipe": "official API", "parallelum": "mirror"}


class _Answer(NamedTuple):
    function: Function
    facts: SourceFacts


# The worst first.
_OTHERWISE = {
    "blocked": (Level.FAILED, ""),
    "down": (Level.FAILED, "wait, or look whether the source works in a browser; loads go on by themselves"),
    "unusable": (Level.FAILED, "look in a browser whether the source has changed; docs/source.md"),
    "not asked": (Level.FAILED, "see the pace table below"),
    "throttled": (Level.WARNING, "wait; if it happens often, deploy with lower CALLS_PER_MINUTE"),
    "no turn": (Level.WARNING, "a load that runs has the next turns: run the check again later"),
}


def look_at_sources(
    cloud: Cloud, facts: Mapping[Function, Facts | None], waits: Waits | None
) -> list[Finding]:
    """How each source answers the loaders.

    Args:
        cloud: where the loaders run.
        facts: what each function answered.
        waits: what the loaders wait for; None if that could not be read.
    """
    answers = [
        _Answer(function, _known_better(source, waits))
        for function, known in facts.items()
        for source in (known.sources if known else [])
    ]
    if not answers:
        return [Finding(Level.FAILED, NAMES["fipe"], "no loader could ask it", "see the loaders above")]
    found = [
        _finding(cloud, [answer for answer in answers if answer.facts.name == name])
        for name in dict.fromkeys(answer.facts.name for answer in answers)
    ]
    official, *mirrors = found
    if official.level is Level.FAILED and mirrors and mirrors[0].level is Level.OK:
        found[0] = official._replace(level=Level.WARNING, seen=f"{official.seen}; the mirror answers instead")
    return found


def _known_better(source: SourceFacts, waits: Waits | None) -> SourceFacts:
    """A call that got no turn: the pace table may say that the source refuses."""
    if source.name != "fipe" or source.state != "no turn" or not (waits and waits.refusal):
        return source
    return SourceFacts(source.name, source.url, waits.refusal.reason, source.words)  # type: ignore[arg-type]


def _finding(cloud: Cloud, answers: list[_Answer]) -> Finding:
    part = NAMES[answers[0].facts.name]
    url = answers[0].facts.url
    for state, (level, to_do) in _OTHERWISE.items():
        refused = [answer for answer in answers if answer.facts.state == state]
        if refused:
            who, words = refused[0].function, one_line(refused[0].facts.words)
            seen = f"{state} for {who}: {words} ({url})"
            return Finding(level, part, seen, to_do or when_blocked(cloud))
    newest = answers[0].facts.words
    seen = f"answered {counted(len(answers), 'loader')}, newest month {newest} ({url})"
    return Finding(Level.OK, part, seen)
