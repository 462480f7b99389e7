"""A queue that is full when the functions come to it."""

from uuid import UUID

import pytest

from fipe_api.messages import to_json
from tests.builders import any_fipe_code, any_named, any_price, any_price_message
from tests.reliability.pipeline import Pipeline


@pytest.mark.faults
def test_ten_thousand_messages_waiting_at_the_start(pipeline: Pipeline) -> None:
    brand = any_named()
    messages = [
        any_price_message(
            run_id=UUID(int=1),
            brand=brand,
            models_in_brand=10_000,
            prices=(any_price(fipe_code=any_fipe_code()),),
        )
        for _ in range(10_000)
    ]
    with pipeline.paused("price"):
        pipeline.deliver([to_json(message) for message in messages])
        assert pipeline.waiting() == 10_000
    pipeline.until_idle(300)
    status = "select models_received, complete from fipe.load_status"
    assert pipeline.query(status) == [(10_000, True)]
    assert pipeline.dead_messages() == 0
