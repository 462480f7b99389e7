"""FipeWebhook, post by post, against servers on loopback. A load with it is in tests/reliability."""

import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from fipe_api import fipe_webhook
from fipe_api.aws import clients
from fipe_api.aws.observability import logger
from fipe_api.environment import loader_environment, webhook_environment
from fipe_api.fipe_webhook import LONGEST_ASKED_SECONDS, asked_pause
from fipe_api.load.announcement import Document
from fipe_api.load.state import LoadState
from infrastructure.webhook import ANNOUNCEMENTS
from tests.aws import client
from tests.builders import AnyContext, sqs_event
from tests.http_server import http_server, send_json

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CACHED = (loader_environment, webhook_environment, clients.client, fipe_webhook._session)
GIVEN = {"version", "id", "kind", "stage", "run_id", "reference_month", "prices", "text"}


class Receiver:
    """A server that answers with a status, and keeps what it was sent."""

    def __init__(self) -> None:
        self.status, self.headers, self.seconds = 200, {}, 0.0  # type: ignore[var-annotated]
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    def reply(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.got.append((request.path, {k.lower(): v for k, v in request.headers.items()}, body))
        time.sleep(self.seconds)
        send_json(request, {"said": "much that nobody reads"}, self.status, **self.headers)


class Stage:
    """The queues and the secrets of a stage whose webhook a receiver gets."""

    def __init__(self, endpoint: str, monkeypatch: pytest.MonkeyPatch, receiver: Receiver, url: str) -> None:
        self.sqs, self.secrets = client("sqs", endpoint), client("secretsmanager", endpoint)
        self.receiver, self.url = receiver, url
        self._monkeypatch = monkeypatch
        name = uuid4().hex
        self.queue = self.sqs.create_queue(QueueName=f"webhook-{name}")["QueueUrl"]
        self.dlq = self.sqs.create_queue(QueueName=f"webhook-dlq-{name}")["QueueUrl"]
        self.hidden: list[int] = []
        self.set(
            AWS_ENDPOINT_URL=endpoint,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_DEFAULT_REGION="us-east-1",
            SQS_INPUT_URL=self.queue,
            SQS_OUTPUT_URL="",
            SQS_LEDGER_URL="",
            WEBHOOK_DLQ_URL=self.dlq,
            WEBHOOK_URL=f"{url}/told?by=fipe",
            WEBHOOK_SECRET_ARN=self.secret(KEY),
        )

    def secret(self, text: str) -> str:
        return str(self.secrets.create_secret(Name=uuid4().hex, SecretString=text)["ARN"])

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        for each in CACHED:
            each.cache_clear()

    def post(self, document: Document, attempt: int = 1) -> bool:
        """Whether the function is done with the announcement."""
        event = sqs_event(json.dumps(json.loads(json.dumps(_plain(document)))), receives=attempt)
        answer = fipe_webhook.handler(event, AnyContext())  # type: ignore[arg-type]
        return not answer["batchItemFailures"]

    def dead_letters(self) -> list[Any]:
        found = self.sqs.receive_message(QueueUrl=self.dlq).get("Messages", [])
        return [json.loads(message["Body"]) for message in found]


def _plain(document: Document) -> Any:
    return fipe_webhook.to_builtins(document)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def stage(endpoint: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with http_server(receiver.reply) as url:
        stage = Stage(endpoint, monkeypatch, receiver, url)

        class Sqs:
            def change_message_visibility(self, **given: Any) -> None:
                assert given["QueueUrl"] == stage.queue
                stage.hidden.append(given["VisibilityTimeout"])

        monkeypatch.setattr(fipe_webhook, "sqs_client", Sqs)
        yield stage
    for each in CACHED:
        each.cache_clear()


def an_announcement() -> Document:
    return Document(
        id=uuid4(), kind="load_complete", stage="dev", run_id=uuid4(), reference_month="2026-06",
        whole_month=True, state=LoadState.COMPLETE, prices=3, missing=["cars, Citroën <C3> & more"],
    ).with_text()  # fmt: skip


def test_posts_the_document_with_a_signature_that_the_standards_library_accepts(stage: Stage) -> None:
    document = an_announcement()
    assert stage.post(document)
    ((path, headers, body),) = stage.receiver.got
    assert path == "/told?by=fipe"
    assert headers["content-type"] == "application/json"
    verified = Webhook(KEY).verify(body, headers)
    assert verified == _plain(document)
    assert verified.keys() >= GIVEN
    assert headers["webhook-id"] == str(document.id)
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(body.replace(b"3", b"4"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_c2VjcmV0IG9mIHNvbWVib2R5IGVsc2U=").verify(body, headers)


def test_a_key_that_was_changed_counts_at_once(stage: Stage) -> None:
    arn = stage.secret(KEY)
    stage.set(WEBHOOK_SECRET_ARN=arn)
    assert stage.post(an_announcement())
    other = "whsec_YW5vdGhlciBrZXkgb2YgdGhpcyBzdGFnZQ=="
    stage.secrets.put_secret_value(SecretId=arn, SecretString=f"{other}\n")
    assert stage.post(an_announcement())
    _, headers, body = stage.receiver.got[-1]
    Webhook(other).verify(body, headers)


def test_without_a_key_nothing_is_signed(stage: Stage) -> None:
    stage.set(WEBHOOK_SECRET_ARN="")
    assert stage.post(an_announcement())
    ((_, headers, _),) = stage.receiver.got
    assert not [name for name in headers if name.startswith("webhook-")]


def test_the_address_may_be_a_secret_that_no_log_line_holds(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    stage.set(WEBHOOK_URL=stage.secret(f"{stage.url}/services/T0/B0/hidden"))
    assert stage.post(an_announcement())
    assert stage.receiver.got[0][0] == "/services/T0/B0/hidden"
    stage.set(WEBHOOK_URL=stage.secret("http://127.0.0.1:9/services/T0/B0/hidden"))
    assert not stage.post(an_announcement())
    printed = "".join(capfd.readouterr()) + log.getvalue()
    assert "no answer: ConnectionError" in printed
    assert "hidden" not in printed
    assert KEY.removeprefix("whsec_") not in printed


def test_slack_gets_the_text_alone(stage: Stage) -> None:
    stage.set(WEBHOOK_FORMAT="slack")
    document = an_announcement()
    assert stage.post(document)
    ((_, headers, body),) = stage.receiver.got
    Webhook(KEY).verify(body, headers)
    (key, text), *others = json.loads(body).items()
    assert (key, others) == ("text", [])
    assert "cars, Citroën &lt;C3&gt; &amp; more" in text
    assert text.startswith("FIPE dev: 2026-06 is complete, 3 prices.\n")


def test_teams_gets_an_adaptive_card(stage: Stage) -> None:
    stage.set(WEBHOOK_FORMAT="teams")
    document = an_announcement()
    assert stage.post(document)
    sent = json.loads(stage.receiver.got[0][2])
    (attachment,) = sent["attachments"]
    assert (sent["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert attachment["content"]["type"] == "AdaptiveCard"
    assert [block["text"] for block in attachment["content"]["body"]] == document.text.splitlines()


@pytest.mark.parametrize("status", [200, 202, 204])
def test_every_2xx_means_that_the_receiver_has_it(stage: Stage, status: int) -> None:
    stage.receiver.status = status
    assert stage.post(an_announcement())
    assert (stage.hidden, stage.dead_letters()) == ([], [])


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 408, 429, 500, 503])
def test_every_other_answer_is_tried_again_later_and_later(stage: Stage, status: int) -> None:
    stage.receiver.status = status
    if status < 400:
        stage.receiver.headers = {"Location": f"{stage.url}/elsewhere"}
    document = an_announcement()
    assert not any(stage.post(document, attempt) for attempt in (1, 2, 3, 12))
    assert stage.hidden == [30, 60, 120, 3 * 3600]
    assert {path for path, _, _ in stage.receiver.got} == {"/told?by=fipe"}, "no redirect is followed"
    assert {headers["webhook-id"] for _, headers, _ in stage.receiver.got} == {str(document.id)}
    assert stage.dead_letters() == []


def test_a_receiver_that_wants_no_more_gets_no_more_of_it(stage: Stage) -> None:
    stage.receiver.status = 410
    document = an_announcement()
    assert stage.post(document)
    assert (stage.hidden, stage.dead_letters()) == ([], [_plain(document)])


def test_a_receiver_may_say_when_it_is_tried_again(stage: Stage) -> None:
    stage.receiver.status = 429
    for asked, pause in (("300", 300), ("1", 30), ("many", 30)):
        stage.receiver.headers = {"Retry-After": asked}
        assert not stage.post(an_announcement())
        assert stage.hidden.pop() == pause
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    assert 590 < asked_pause(later) <= 600
    assert asked_pause("9" * 30) == LONGEST_ASKED_SECONDS
    assert asked_pause("-5") == asked_pause("") == asked_pause("Thu, 01 Jan 1970 00:00:00 GMT") == 0


def test_an_answer_that_does_not_come_in_time_is_none(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fipe_webhook, "TIMEOUT_SECONDS", 0.1)
    stage.receiver.seconds = 0.3
    assert not stage.post(an_announcement())
    assert stage.hidden == [30]


def test_a_key_that_is_none_and_a_secret_that_is_gone_fail_the_message(stage: Stage) -> None:
    stage.set(WEBHOOK_SECRET_ARN=stage.secret("whsec_"))
    assert not stage.post(an_announcement())
    stage.set(WEBHOOK_SECRET_ARN="arn:aws:secretsmanager:us-east-1:123456789012:secret:gone-AbCdEf")
    assert not stage.post(an_announcement())
    assert stage.receiver.got == []


def test_the_topic_sends_every_kind_of_announcement() -> None:
    assert set(ANNOUNCEMENTS) == set(Document.__annotations__["kind"].__args__)
