"""AWS bill: what a monthly load costs besides the database, at 40 calls a minute.

Measured: the sample goes through the local cloud at two rates. What a function is billed for a call is
work, the same at any rate, and waiting for its turn, as long as the rate is low: two rates tell the two
apart, and so what a call costs at 40 a minute. Work is counted as on the share of a processor that the
function's memory buys. No free tier is counted, and no price of what stands there between loads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.cloud import LoadFigures, load
from benchmarks.rows import Row, at_most
from fipe_api_stack import DATABASE_FUNCTION_MEMORY_MB, LOADER_MEMORY_MB
from fipe_simulator import SAMPLE_CATALOGUE
from infrastructure import names

CALLS, MODELS, BRANDS = 54_752, 11_238, 236
CALLS_A_MINUTE = 40
MEASURED_RATES = (1_200, 300)
MESSAGES_A_BATCH = 10
FULL_PROCESSOR_MB = 1_769
"""A function of this size has one processor (Lambda developer guide, "Configure Lambda function memory")."""
POLLS_A_MINUTE = 3 * 5 * 3
"""Three queues, each with the five pollers that Lambda begins with, at 20 s a long poll."""
LOG_KILOBYTES_AN_INVOCATION = 2
METRICS = 3 + 3 + 3
"""Those that come in each hour of a load, which is what is billed: MessagesFailed, MessagesHandedBack and
CallsThrottled of two loaders; MessagesFailed, PricesReceived and PricesChanged of the ingestor."""


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
# sa-east-1: Lambda's is the same (table of github.com/alexcasalboni/aws-lambda-power-tuning); the others were
# not found and are put at 1.5 times us-east-1 or above, but for metrics. To be looked up before use.
PRICES = {
    "us-east-1": Prices(0.0000133334, 0.20, 0.40, 0.625, 0.50, 0.30),
    "sa-east-1": Prices(0.0000133334, 0.20, 0.60, 0.9375, 0.90, 0.30),
}


@dataclass(frozen=True)
class Function:
    """What one call of the load costs one of the functions.

    Attributes:
        memory_mb: its memory.
        work: seconds of work a call, on a whole processor.
        waiting: how many of its kind wait at a time, on average over the load.
        invocations: invocations a load.
    """

    memory_mb: int
    work: float
    waiting: float
    invocations: float

    def billed_gigabyte_seconds(self, calls_a_minute: float) -> float:
        """Of a whole load."""
        work = self.work * max(1.0, FULL_PROCESSOR_MB / self.memory_mb)
        return CALLS * (work + self.waiting * 60 / calls_a_minute) * self.memory_mb / 1024


Functions = Mapping[names.Function, Function]


def run() -> Sequence[Row]:
    fast, slow = (load(SAMPLE_CATALOGUE, str(rate)) for rate in MEASURED_RATES)
    functions = {name: _function(name, fast, slow) for name in fast.functions}
    return [
        *(
            Row(f"a month, {region}", _bill(functions, prices), "USD", target=at_most(0.50))
            for region, prices in PRICES.items()
        ),
        *(
            Row(f"{name}: waiting at a time, on average", function.waiting, "functions")
            for name, function in functions.items()
        ),
        *(Row(f"us-east-1, {knob}", _bill(changed, PRICES["us-east-1"], rate), "USD")
          for knob, changed, rate in _knobs(functions)),
    ]  # fmt: skip


def _function(name: names.Function, fast: LoadFigures, slow: LoadFigures) -> Function:
    fast_rate, slow_rate = MEASURED_RATES
    a_call = [each.functions[name].billed_seconds / each.calls for each in (fast, slow)]
    waiting = max(0.0, (a_call[1] - a_call[0]) / (60 / slow_rate - 60 / fast_rate))
    return Function(
        memory_mb=DATABASE_FUNCTION_MEMORY_MB if name == names.Function.SOMA_INGESTOR else LOADER_MEMORY_MB,
        work=max(0.0, a_call[0] - waiting * 60 / fast_rate),
        waiting=waiting,
        invocations={
            names.Function.MANUFACTURER_LOADER: 1,
            names.Function.MODEL_LOADER: BRANDS / MESSAGES_A_BATCH,
        }.get(name, MODELS / MESSAGES_A_BATCH),
    )


def _bill(functions: Functions, prices: Prices, calls_a_minute: float = CALLS_A_MINUTE) -> float:
    minutes = CALLS / calls_a_minute
    messages = BRANDS + 2 * MODELS
    invocations = sum(function.invocations for function in functions.values())
    # Each batch is sent, received and deleted; the pollers ask all the time.
    sqs_requests = 3 * messages / MESSAGES_A_BATCH + POLLS_A_MINUTE * minutes
    return (
        sum(function.billed_gigabyte_seconds(calls_a_minute) for function in functions.values())
        * prices.lambda_gigabyte_second
        + invocations / 1e6 * prices.lambda_million_requests
        + sqs_requests / 1e6 * prices.sqs_million_requests
        + CALLS / 1e6 * prices.dynamodb_million_writes
        + invocations * LOG_KILOBYTES_AN_INVOCATION / 2**20 * prices.logs_gigabyte
        + METRICS * minutes / 60 / 730 * prices.metric_month
    )


def _knobs(functions: Functions) -> Sequence[tuple[str, Functions, float]]:
    """Name, functions and calls a minute of loads with one knob turned."""

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
            CALLS_A_MINUTE,
        ),
        (
            "price_concurrency=10",
            changed(lambda each: replace(each, waiting=5 * each.waiting), names.Function.PRICE_LOADER),
            CALLS_A_MINUTE,
        ),
        ("calls_per_minute=20", functions, 20),
        (
            "were no function to wait",
            changed(lambda each: replace(each, waiting=0.0), *functions),
            CALLS_A_MINUTE,
        ),
    )
