"""Asks the mirror while the official API blocks this address, within the mirror's limit of calls per day."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from fipe_api.messages import ModelYearFuel, Named, PricedVehicle, Reference, VehicleType
from fipe_api.source.http_source import BlockedError, FipeError
from fipe_api.source.pace import Pace, PaceAround
from fipe_api.source.price_source import BrandModels, PriceSource

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

DAY_MS = 86_400_000

Answer = TypeVar("Answer")


class WithFallback(PriceSource):
    """A PriceSource that asks the mirror whenever the official API blocks this address.

    If the mirror cannot answer either, it raises the official API's error, which says how long to wait.
    """

    def __init__(self, official: PriceSource, mirror: PriceSource) -> None:
        self._official = official
        self._mirror = mirror

    @override
    def references(self) -> list[Reference]:
        return self._ask(lambda source: source.references())

    @override
    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        return self._ask(lambda source: source.brands(reference, vehicle_type))

    @override
    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        return self._ask(lambda source: source.models(reference, vehicle_type, brand_code))

    @override
    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[ModelYearFuel, ...]:
        return self._ask(
            lambda source: source.years_of_model(reference, vehicle_type, brand_code, model_code)
        )

    @override
    def models_of_year(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, year: ModelYearFuel
    ) -> frozenset[int]:
        return self._ask(lambda source: source.models_of_year(reference, vehicle_type, brand_code, year))

    @override
    def price(
        self, reference: Reference, vehicle_type: VehicleType, brand: Named, model: Named, year: ModelYearFuel
    ) -> PricedVehicle:
        return self._ask(lambda source: source.price(reference, vehicle_type, brand, model, year))

    def _ask(self, ask: Callable[[PriceSource], Answer]) -> Answer:
        try:
            return ask(self._official)
        except BlockedError as blocked:
            try:
                return ask(self._mirror)
            except FipeError as error:
                blocked.add_note(f"the mirror does not answer either: {error}")
                raise blocked from None


class DailyPace(PaceAround):
    """A pace with a limit of calls per day (UTC), counted for all functions together in one DynamoDB item.

    Args:
        pace: the pace within the day.
        client: a DynamoDB client.
        table: the table's name; its partition key is the string `source`.
        source: the key of the item.
        calls_per_day: the limit.
        clock: gives milliseconds since 1970.
    """

    def __init__(
        self,
        pace: Pace,
        client: "DynamoDBClient",
        table: str,
        source: str,
        calls_per_day: int,
        clock: Callable[[], int] = lambda: round(1000 * datetime.now(UTC).timestamp()),
    ) -> None:
        super().__init__(pace)
        self._client = client
        self._table = table
        self._source = source
        self._budget = calls_per_day
        self._clock = clock
        self._spent_until = 0

    @override
    def reserve(self, patience: float) -> float:
        now = self._clock()
        tomorrow = (now // DAY_MS + 1) * DAY_MS
        if now < self._spent_until:
            return (self._spent_until - now) / 1000
        wait = super().reserve(patience)
        if wait <= patience and not self._count(now // DAY_MS):
            self._spent_until = tomorrow
            # Always longer than `patience`: no call is left today.
            return max(patience + 1, (tomorrow - now) / 1000)
        return wait

    def _count(self, day: int) -> bool:
        """Counts a call of the day; False if the day's calls are used up."""
        # Try to continue the day, then to start it. If another function has started it in between, continue.
        go_on = "ADD calls :one", "#day = :day AND calls < :budget"
        begin = "SET #day = :day, calls = :one", "attribute_not_exists(#day) OR #day < :day"
        return any(
            self._update(expression, condition, day) for expression, condition in (go_on, begin, go_on)
        )

    def _update(self, expression: str, condition: str, day: int) -> bool:
        values = {":one": {"N": "1"}, ":day": {"N": str(day)}}
        if ":budget" in condition:
            values[":budget"] = {"N": str(self._budget)}
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"source": {"S": self._source}},
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#day": "day"},
                ExpressionAttributeValues=values,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True
