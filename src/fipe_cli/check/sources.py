"""The sources, from where the loaders call them."""

from collections.abc import Mapping
from typing import NamedTuple

from fipe_api.aws.self_check import Facts, SourceFacts
from fipe_cli.blocked import when_blocked
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.functions import one_line
from fipe_cli.cloud import Cloud
from fipe_cli.function_words import understood
from fipe_cli.progress import Waits
from fipe_words import _, counted, marked
from infrastructure.names import Function

NAMES = {"fipe": marked("official API"), "parallelum": marked("mirror")}


class _Answer(NamedTuple):
    function: Function
    facts: SourceFacts


# The worst first.
_OTHERWISE = {
    "blocked": (Level.FAILED, ""),
    "down": (
        Level.FAILED,
        marked("wait, or look whether the source works in a browser; loads go on by themselves"),
    ),
    "unusable": (Level.FAILED, marked("look in a browser whether the source has changed; docs/source.md")),
    "not asked": (Level.FAILED, marked("see the pace table below")),
    "throttled": (Level.WARNING, marked("wait; if it happens often, deploy with lower CALLS_PER_MINUTE")),
    "no turn": (Level.WARNING, marked("a load that runs has the next turns: run the check again later")),
}


_SEEN = {
    "blocked": marked("blocked for {function}: {words} ({url})"),
    "down": marked("down for {function}: {words} ({url})"),
    "unusable": marked("unusable for {function}: {words} ({url})"),
    "not asked": marked("not asked for {function}: {words} ({url})"),
    "throttled": marked("throttled for {function}: {words} ({url})"),
    "no turn": marked("no turn for {function}: {words} ({url})"),
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
        return [
            Finding(Level.FAILED, _(NAMES["fipe"]), _("no loader could ask it"), _("see the loaders above"))
        ]
    found = [
        _finding(cloud, [answer for answer in answers if answer.facts.name == name])
        for name in dict.fromkeys(answer.facts.name for answer in answers)
    ]
    official, *mirrors = found
    if official.level is Level.FAILED and mirrors and mirrors[0].level is Level.OK:
        found[0] = official._replace(
            level=Level.WARNING, seen=_("{seen}; the mirror answers instead", seen=official.seen)
        )
    return found


def _known_better(source: SourceFacts, waits: Waits | None) -> SourceFacts:
    """A call that got no turn: the pace table may say that the source refuses."""
    if source.name != "fipe" or source.state != "no turn" or not (waits and waits.refusal):
        return source
    return SourceFacts(source.name, source.url, waits.refusal.reason, source.words)  # type: ignore[arg-type]


def _finding(cloud: Cloud, answers: list[_Answer]) -> Finding:
    part = _(NAMES[answers[0].facts.name])
    url = answers[0].facts.url
    for state, (level, to_do) in _OTHERWISE.items():
        refused = [answer for answer in answers if answer.facts.state == state]
        if refused:
            who, words = refused[0].function, one_line(refused[0].facts.words)
            seen = _(_SEEN[state], function=who, words=understood(words), url=url)
            return Finding(level, part, seen, _(to_do) if to_do else when_blocked(cloud))
    newest = answers[0].facts.words
    seen = _(
        "answered {loaders}, newest month {newest} ({url})",
        loaders=counted(len(answers), "loader"),
        newest=newest,
        url=url,
    )
    return Finding(Level.OK, part, seen)
