"""Which messages of a batch stay in the queue, by the function's response."""

import json

import pytest

from local_cloud.aws.event_sources import failed_message_ids

BATCH = {"a", "b"}


@pytest.mark.parametrize(
    "response", [None, {}, {"batchItemFailures": None}, {"batchItemFailures": []}, {"other": 1}]
)
def test_takes_a_response_without_failures_as_success(response: object) -> None:
    assert failed_message_ids(json.dumps(response).encode(), BATCH) == set()


def test_leaves_the_messages_that_are_named() -> None:
    response = {"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "b"}]}
    assert failed_message_ids(json.dumps(response).encode(), BATCH) == {"b"}


@pytest.mark.parametrize(
    "response",
    [
        "done",
        [],
        {"batchItemFailures": "a"},
        {"batchItemFailures": ["a"]},
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"itemIdentifier": ["a"]}]},
        {"batchItemFailures": [{"identifier": "a"}]},
        {"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "unknown"}]},
    ],
)
def test_leaves_the_whole_batch_when_the_response_is_malformed(response: object) -> None:
    assert failed_message_ids(json.dumps(response).encode(), BATCH) == BATCH


def test_leaves_the_whole_batch_when_the_response_is_no_json() -> None:
    assert failed_message_ids(b"{", BATCH) == BATCH
