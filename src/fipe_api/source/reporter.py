"""Reports what happens to the calls of a run: as metrics, and rejected answers to the quarantine."""

from datetime import UTC, datetime
from uuid import UUID

from typing_extensions import override

from fipe_api.aws.clients import sqs_client
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing, send_all
from fipe_api.messages import Reference, RejectedAnswerMessage, to_json
from fipe_api.source.http_source import Observer, RejectedAnswer


class Reporter(Observer):
    """Counts throttling, blocks and outages, and sends rejected answers to the price queue.

    Args:
        run_id: the run that makes the calls.
        reference: the reference month that the calls ask for; None for the call that lists the months.
        rejected_answers_url: the queue for rejected answers; empty to log them only.
    """

    def __init__(self, run_id: UUID, reference: Reference | None, rejected_answers_url: str) -> None:
        self._run_id = run_id
        self._reference = reference
        self._rejected_answers_url = rejected_answers_url

    @override
    def count(self, metric: str) -> None:
        metrics.add_metric(metric, "Count", 1)

    @override
    def rejected(self, answer: RejectedAnswer) -> None:
        # Logged first: the log keeps the answer even if SQS does not take it.
        logger.warning("answer rejected", run_id=str(self._run_id), **answer._asdict())
        if not self._rejected_answers_url:
            return
        message = RejectedAnswerMessage(
            run_id=self._run_id,
            reference=self._reference,
            seen_at=datetime.now(UTC),
            **answer._asdict(),
        )
        sent = send_all(sqs_client(), [Outgoing(self._rejected_answers_url, to_json(message))])
        for error in sent.values():
            logger.error("rejected answer not sent", error=str(error))
