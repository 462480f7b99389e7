"""What a load has left to do, and how its results have come so far: what an estimate of its time needs.

Brands that were not searched yet count with their size in an earlier load, otherwise with their size in June
2026, otherwise as a typical brand. If the searched brands turn out larger or smaller than that, the others
count larger or smaller, too.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from msgspec import Struct

from fipe_api.load.size import Size, brand_key, brand_sizes, typical_size

if TYPE_CHECKING:
    from psycopg2.extensions import connection

LOADS_REMEMBERED = 20
MODEL_YEARS = 52
"""Model years and fuels of a large brand. Searching a brand takes a call for each of them, or for each of its
models if these are fewer. With this number, the brands of June 2026 take as many calls as they really did."""
STEP = 1.25
"""Results are counted together if their ages differ by less than this factor: the newest in detail, old ones
roughly."""
DOUBTED_BRANDS = 2
"""So many typical brands must be searched before the sizes found count as much as those foreseen."""

SELECT_BRANDS = """
with known as (
    select distinct on (brand.vehicle_type, brand.brand_code) brand.*
    from fipe.load_brand as brand
    where brand.load_run_id in (
        select id from fipe.load_run
        where run_id <> %(run_id)s::uuid and wanted_models = '[]'
        order by id desc limit %(loads)s
    ) and brand.ended_at is not null
    order by brand.vehicle_type, brand.brand_code, brand.load_run_id desc
)
select status.vehicle_type,
       coalesce(status.brand, known.brand) as brand,
       jsonb_array_length(run.wanted_models) as wanted,
       extract(epoch from statement_timestamp() - brand.planned_at)::float8 as searched_ago,
       status.models_expected as models,
       status.vehicles_expected as vehicles,
       status.models_received as models_done,
       status.prices + status.unpriced + status.rejected as vehicles_done,
       known.models_expected as models_before,
       (
           select sum(planned.vehicles)::integer
           from fipe.load_brand_plan as plan
           cross join unnest(plan.vehicles) as planned (vehicles)
           where (plan.load_run_id, plan.vehicle_type, plan.brand_code)
               = (known.load_run_id, known.vehicle_type, known.brand_code)
       ) as vehicles_before
from fipe.load_brand_status as status
join fipe.load_run as run using (run_id, reference_code)
join fipe.load_brand as brand
    on (brand.load_run_id, brand.vehicle_type, brand.brand_code)
     = (run.id, status.vehicle_type, status.brand_code)
left join known on (known.vehicle_type, known.brand_code) = (status.vehicle_type, status.brand_code)
where status.run_id = %(run_id)s::uuid
  and (%(reference_code)s is null or status.reference_code = %(reference_code)s)
"""

SELECT_BRANDS_EXPECTED = """
select sum(brands_expected)
from fipe.load_run
where run_id = %(run_id)s::uuid and (%(reference_code)s is null or reference_code = %(reference_code)s)
"""

SELECT_ARRIVALS = """
with came as (
    select extract(epoch from statement_timestamp() - model.received_at)::float8 as ago,
           sum(model.prices + model.unpriced + model.rejected) as calls
    from fipe.load_run as run
    join fipe.load_model as model on model.load_run_id = run.id
    where run.run_id = %(run_id)s::uuid
      and (%(reference_code)s is null or run.reference_code = %(reference_code)s)
    group by model.received_at
),
grouped as (
    select *, floor(ln(greatest(1, ago)) / ln(%(step)s)) as age from came
),
spaced as (
    select *, ago - lag(ago) over (partition by age order by ago) as gap from grouped
)
select min(ago), max(ago), count(*), sum(calls)::float8, coalesce(max(gap), 0)
from spaced
group by age
order by age
"""


class Arrivals(Struct, frozen=True):
    """Results that came at about the same time.

    Attributes:
        newest: how many seconds ago the last of them came.
        oldest: how many seconds ago the first of them came.
        batches: transactions that wrote them.
        calls: calls to the source that they took.
        longest_gap: the longest time between two of the batches, in seconds.
    """

    newest: float
    oldest: float
    batches: int
    calls: float
    longest_gap: float = 0.0


class Outlook(Struct, frozen=True):
    """What is left of a run, all its reference months together.

    Attributes:
        brands_searched: brands whose models are known.
        models: of the whole run; those of brands that were not searched are estimated.
        prices: of the whole run, estimated in the same way.
        calls_left: calls to the source, without those that search a brand again.
        calls_to_search_again: what a resume takes to search one brand again, on average.
        arrivals: the newest first.
    """

    brands_searched: int = 0
    models: float = 0.0
    prices: float = 0.0
    calls_left: float = 0.0
    calls_to_search_again: float = 0.0
    arrivals: tuple[Arrivals, ...] = ()


NOTHING_KNOWN = Outlook()


class _Brand(NamedTuple):
    """A brand of the run, as SELECT_BRANDS has it."""

    vehicle_type: int
    brand: str | None
    wanted: int
    searched_ago: float | None
    models: int | None
    vehicles: int | None
    models_done: int
    vehicles_done: int
    models_before: int | None
    vehicles_before: int | None

    @property
    def is_searched(self) -> bool:
        return self.models == 0 or None not in (self.models, self.vehicles)

    @property
    def foreseen(self) -> Size:
        """Its size, as it was to be expected before it was searched."""
        if self.models_before is not None:
            whole = Size(self.models_before, _search_calls(self.models_before), self.vehicles_before or 0)
        else:
            key = brand_key(self.vehicle_type, self.brand or "")
            whole = brand_sizes().get(key) or typical_size(self.vehicle_type)
        return whole.part(self.wanted) if self.wanted else whole


def read_outlook(connection: "connection", run_id: UUID, reference_code: int | None = None) -> Outlook:
    """What a run has left, or one of its months; empty if the ledger does not know it."""
    asked = {
        "run_id": str(run_id),
        "reference_code": reference_code,
        "loads": LOADS_REMEMBERED,
        "step": STEP,
    }
    with connection.cursor() as cursor:
        cursor.execute(SELECT_BRANDS, asked)
        brands = [_Brand(*row) for row in cursor.fetchall()]
        cursor.execute(SELECT_BRANDS_EXPECTED, asked)
        ((brands_expected,),) = cursor.fetchall()
        cursor.execute(SELECT_ARRIVALS, asked)
        arrivals = [Arrivals(*row) for row in cursor.fetchall()]
    return _outlook(brands, max(0, (brands_expected or 0) - len(brands)), arrivals)


def _outlook(brands: Sequence[_Brand], unnamed: int, arrivals: Iterable[Arrivals]) -> Outlook:
    """What is left.

    Args:
        brands: those that the ledger knows.
        unnamed: how many others there are.
        arrivals: the results that came.
    """
    searched = [brand for brand in brands if brand.is_searched]
    ahead = [brand.foreseen for brand in brands if not brand.is_searched] + [typical_size()] * unnamed
    found_models = sum(brand.models or 0 for brand in searched)
    found_prices = sum(brand.vehicles or 0 for brand in searched)
    foreseen = [brand.foreseen for brand in searched]
    models = _scaled(found_models, [size.models for size in foreseen], typical_size().models)
    prices = _scaled(found_prices, [size.prices for size in foreseen], typical_size().prices)
    lacking = [brand for brand in searched if (brand.models or 0) > brand.models_done]
    again = [_search_calls((brand.models or 0) - brand.models_done) for brand in lacking]
    search_calls = [
        (brand.searched_ago, _search_calls(brand.models or 0))
        for brand in searched
        if brand.searched_ago is not None
    ]
    return Outlook(
        brands_searched=len(searched),
        models=found_models + models * sum(size.models for size in ahead),
        prices=found_prices + prices * sum(size.prices for size in ahead),
        calls_left=sum(max(0, (brand.vehicles or 0) - brand.vehicles_done) for brand in searched)
        + prices * sum(size.prices for size in ahead)
        + min(1.0, models) * sum(size.discovery_calls for size in ahead),
        calls_to_search_again=sum(again) / len(again) if again else 0.0,
        arrivals=_with_searches(arrivals, search_calls),
    )


def _search_calls(models: float) -> float:
    """Calls that find the model years of so many models of a brand."""
    return 1 + min(models, MODEL_YEARS)


def _scaled(found: float, foreseen: Sequence[float], typical: float) -> float:
    """By which factor brands are larger than foreseen."""
    doubt = DOUBTED_BRANDS * typical
    return (found + doubt) / (sum(foreseen) + doubt)


def _with_searches(
    arrivals: Iterable[Arrivals], searches: Iterable[tuple[float, float]]
) -> tuple[Arrivals, ...]:
    """The arrivals, and the calls of the searches among them."""
    by_age = {_age(each.newest): each for each in arrivals}
    for ago, calls in searches:
        own = Arrivals(max(0.0, ago), max(0.0, ago), 1, 0.0)
        same = by_age.get(_age(ago), own)
        by_age[_age(ago)] = Arrivals(
            min(same.newest, own.newest),
            max(same.oldest, own.oldest),
            same.batches,
            same.calls + calls,
            same.longest_gap,
        )
    return tuple(each for _, each in sorted(by_age.items()))


def _age(ago: float) -> int:
    return math.floor(math.log(max(1.0, ago), STEP))
