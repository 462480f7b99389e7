"""What functions and the ledger say, always in English and as finished texts, in the person's language."""

from fipe_words import marked, understood_as

ANSWERS = (
    # Why the start of a load waits, or is refused.
    marked("throttled by the source"),
    marked("blocked by the source"),
    marked("the source is down ({reason})"),
    marked("the pace allows no call for now"),
    marked("no time left in this invocation"),
    marked("the pace table is missing, and without it no loader calls a source"),
    marked("nothing was started: {error}"),
    marked("run {run} is cancelled: `fipe resume {run}` loads what it lacks"),
    marked("the source lists no brand {brand}: did you mean {names}?"),
    marked("the source lists no brand {brand}: use a name or code that FIPE lists"),
    marked("the source lists no brands: try another month or other vehicle types"),
    marked("{asked} is not published: use months from {first} to {last}"),
    marked("{left} of {all} FIPE codes are not in the database, and are looked up first"),
    marked("the source knows none of these FIPE codes: try another month"),
    marked("run {run} is not that of the list of months, which `fipe backfill` shows"),
    marked("the list of months has ended: start another one"),
    marked(
        "run {run} is loading a list of months with other vehicle types, brands or models: wait until it"
        " ends, or stop it with `fipe backfill --stop`"
    ),
    marked("the load of {months} goes first"),
    marked("{month} is complete"),
    marked("{month} is confirmed"),
    # Why a month of a list is not complete.
    marked("some prices had no usable answer"),
    marked("some results did not arrive"),
    marked("the source lists none of the wanted brands"),
    marked("waits for the load of {months}"),
    # Why an imported month of a list is not confirmed.
    marked("{vehicle}: {here} in the import, {there} in the official API"),
    marked("{vehicle}: the official API does not have it"),
    marked("{vehicle}: no usable answer came"),
    marked("the import does not have this brand"),
    # What the questions of the schema refuse, and say of their months.
    marked("invalid month '{asked}': use a month like 2026-06, or latest"),
    marked("invalid by '{by}': use type or brand, or leave it out"),
    marked("the database has no prices of {month}"),
    marked(
        "{month} is partly loaded, so {asked} is compared with {earlier}: name the month to compare with it"
    ),
    marked("nothing"),
    # What a load lacks.
    marked("{unknown} of {all} brands are not known: the run's plan, or a part of it, has not arrived"),
    marked("and others: {view} has all"),
    marked("{vehicle_type}, {brand}: {count} models ({names}): {reason}"),
    marked("{vehicle_type}, {brand}: {count} model ({names}): {reason}"),
    marked("{vehicle_type}, {brand}: {count} prices ({names}): {reason}"),
    marked("{vehicle_type}, {brand}: {count} price ({names}): {reason}"),
    marked("the load was cancelled before its models were known"),
    marked("the load was cancelled before its prices came"),
    marked(
        "its models are not known yet: the brand is waiting or being worked on, or it failed and is in the"
        " manufacturer DLQ"
    ),
    marked(
        "{received} of {all} models have arrived; what has come of the brand's plan does not name the others"
    ),
    marked(
        "its prices have not arrived: the model is waiting or being worked on, or it failed and is in the"
        " model or the price DLQ"
    ),
    marked("no usable answer came: see fipe.rejected_answer"),
    marked("FIPE lists it without model years"),
    marked("FIPE lists it, and denied it nine times"),
    marked("{vehicle_type}, {brand}: {reason}"),
    marked("cars"),
    marked("motorcycles"),
    marked("trucks"),
    # What they did for a check.
    marked("wrote {count} prices, and undid it"),
    marked("read {count} loads"),
    marked("read {count} load"),
    marked("not needed: {user} is no member of rds_iam"),
    marked("reached {bucket}; there is no month to write"),
    marked("reached {bucket}, which has {month}"),
    marked("reached {bucket}, which lacks {month}"),
    marked("may sign in, although the stage was deployed with reader_login=off"),
)
"""The first that fits counts, so a more general one comes later."""

POSTGRESQL = (
    marked('relation "{name}" does not exist'),
    marked('column "{name}" does not exist'),
    marked("column {name} does not exist"),
    marked("function {name} does not exist"),
    marked('syntax error at or near "{word}"'),
    marked("syntax error at end of input"),
)
"""What PostgreSQL says of the usual mistakes in a query."""


def understood(text: str) -> str:
    """The text in the person's language; as it is if it is no known one."""
    return understood_as(text, ANSWERS)


def understood_of_database(text: str) -> str:
    """What the database says of a query, in the person's language; names in it stay as they are."""
    said = understood_as(text, POSTGRESQL)
    return understood(text) if said == text else said
