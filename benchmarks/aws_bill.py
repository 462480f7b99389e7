"""AWS bill: what a monthly load costs besides the database, at 40 calls per minute.

Loads the sample through the local cloud at two rates. For each call, AWS bills a function for work, which is
the same at any rate, and for waiting for its turn, which is longer at a low rate. From the two rates follow
both, and so the cost of a call at 40 per minute. Work takes longer on AWS, because a function gets a share of
a processor in proportion to its memory. Not included: the free tier, and what AWS bills between loads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.cloud import LoadFigures, load
from benchmarks.processor_share import FULL_PROCESSOR_MB
from benchmarks.rows import Row, at_most
from fipe_simulator import SAMPLE_CATALOGUE
from infrastructure import names
from infrastructure.database_function import DATABASE_FUNCTION_MEMORY_MB
from infrastructure.loader import LOADER_MEMORY_MB

CALLS, MODELS, BRANDS = 54_752, 11_238, 236
CALLS_PER_MINUTE = 40
MEASURED_RATES = (1_200, 300)
MESSAGES_PER_BATCH = 10
POLLS_PER_MINUTE = 3 * 5 * 3
"""Three queues, each with the five pollers that Lambda begins with, each long poll takes 20 s."""
LOG_KILOBYTES_PER_INVOCATION = 2
METRICS = 3 + 3 + 3
"""AWS bills a metric for each hour that has values. During a load these have: MessagesFailed,
MessagesHandedBack and CallsThrottled of two loaders; MessagesFailed, PricesReceived and PricesChanged of the
ingestor."""


@dataclass(frozen=True)
class Prices:
    """List prices of one region in USD, without the free tier."""

    lambda_gigabyte_second: float
    lambda_million_requests: float
    sqs_million_requests: float
    dynamodb_million_writes: float
    logs_gigabyte: float
    metric_month: float


# us-east-1: aws.amazon.com/lambda/pricing (arm64), /sqs/pricing (standard queues), /dynamodb/pricing (on
# demand), /cloudwatch/pricing, as public guides of 2024 to 2026 quote them, looked up on 2026-11-25.
# sa-east-1: Lambda's price is the same (table of github.com/alexcasalboni/aws-lambda-power-tuning). The
# others are guesses: at least 1.5 times those of us-east-1, except for metrics. Look them up before you rely
# on them.
PRICES = {
    "us-east-1": Prices(0.0000133334, 0.20, 0.40, 0.625, 0.50, 0.30),
    "sa-east-1": Prices(0.0000133334, 0.20, 0.60, 0.9375, 0.90, 0.30),
}


@dataclass(frozen=True)
class Function:
    """How one of the functions spends its time during a load.

    Attributes:
        memory_mb: its memory.
        work: seconds of work per call, on a whole processor.
        waiting: how many instances of it wait at a time, on average over the load.
        invocations: invocations per load.
    """

    memory_mb: int
    work: float
    waiting: float
    invocations: float

    def billed_gigabyte_seconds(self, calls_per_minute: float) -> float:
        """Gigabyte-seconds that AWS bills for a whole load."""
        work = self.work * max(1.0, FULL_PROCESSOR_MB / self.memory_mb)
        return CALLS * (work + self.waiting * 60 / calls_per_minute) * self.memory_mb / 1024


Functions = Mapping[names.Function, Function]


def run() -> Sequence[Row]:
    fast, slow = (load(SAMPLE_CATALOGUE, str(rate)) for rate in MEASURED_RATES)
    functions = {name: _function(name, fast, slow) for name in fast.functions}
    return [
        *(
            Row(f"per month, {region}", _bill(functions, prices), "USD", target=at_most(0.50))
            for region, prices in PRICES.items()
        ),
        *(
            Row(f"{name}: instances that wait at a time, on average", function.waiting, "functions")
            for name, function in functions.items()
        ),
        *(Row(f"us-east-1, {change}", _bill(changed, PRICES["us-east-1"], rate), "USD")
          for change, changed, rate in _variants(functions)),
    ]  # fmt: skip


def _function(name: names.Function, fast: LoadFigures, slow: LoadFigures) -> Function:
    fast_rate, slow_rate = MEASURED_RATES
    per_call = [each.functions[name].billed_seconds / each.calls for each in (fast, slow)]
    waiting = max(0.0, (per_call[1] - per_call[0]) / (60 / slow_rate - 60 / fast_rate))
    return Function(
        memory_mb=DATABASE_FUNCTION_MEMORY_MB if name == names.Function.SOMA_INGESTOR else LOADER_MEMORY_MB,
        work=max(0.0, per_call[0] - waiting * 60 / fast_rate),
        waiting=waiting,
        invocations={
            names.Function.MANUFACTURER_LOADER: 1,
            names.Function.MODEL_LOADER: BRANDS / MESSAGES_PER_BATCH,
        }.get(name, MODELS / MESSAGES_PER_BATCH),
    )


def _bill(functions: Functions, prices: Prices, calls_per_minute: float = CALLS_PER_MINUTE) -> float:
    minutes = CALLS / calls_per_minute
    messages = BRANDS + 2 * MODELS
    invocations = sum(function.invocations for function in functions.values())
    # Each batch is sent, received and deleted, and the pollers poll all the time.
    sqs_requests = 3 * messages / MESSAGES_PER_BATCH + POLLS_PER_MINUTE * minutes
    return (
        sum(function.billed_gigabyte_seconds(calls_per_minute) for function in functions.values())
        * prices.lambda_gigabyte_second
        + invocations / 1e6 * prices.lambda_million_requests
        + sqs_requests / 1e6 * prices.sqs_million_requests
        + CALLS / 1e6 * prices.dynamodb_million_writes
        + invocations * LOG_KILOBYTES_PER_INVOCATION / 2**20 * prices.logs_gigabyte
        + METRICS * minutes / 60 / 730 * prices.metric_month
    )


def _variants(functions: Functions) -> Sequence[tuple[str, Functions, float]]:
    """Loads with one setting changed: the change, the functions and the calls per minute."""

    def changed(change: Callable[[Function], Function], *which: names.Function) -> Functions:
        return {name: change(each) if name in which else each for name, each in functions.items()}

    return (
        (
            "loaders of 256 MB",
            changed(
                lambda each: replace(each, memory_mb=256),
                names.Function.MODEL_LOADER,
                names.Function.PRICE_LOADER,
            ),
            CALLS_PER_MINUTE,
        ),
        (
            "price_concurrency=10",
            changed(lambda each: replace(each, waiting=5 * each.waiting), names.Function.PRICE_LOADER),
            CALLS_PER_MINUTE,
        ),
        ("calls_per_minute=20", functions, 20),
        (
            "if no function waited",
            changed(lambda each: replace(each, waiting=0.0), *functions),
            CALLS_PER_MINUTE,
        ),
    )
