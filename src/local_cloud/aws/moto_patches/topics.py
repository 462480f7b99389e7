"""Patches of moto's SNS."""

from copy import copy
from typing import Any

from moto.sns import models as sns

from local_cloud.aws.moto_patches.members import replace

MAIL = ("email", "email-json")
PENDING = "PendingConfirmation"


def let_mail_subscriptions_wait() -> None:
    """moto confirms every subscription at once; SNS lists one by mail as pending until its link is opened.

    Nobody gets a mail from this cloud, so they stay pending (SNS API reference, "Subscribe").
    """
    subscribe, listed = sns.SNSBackend.subscribe, sns.SNSBackend.list_subscriptions_by_topic

    def subscribe_by_mail(self: Any, topic_arn: str, endpoint: str, protocol: str) -> Any:
        subscription = subscribe(self, topic_arn, endpoint, protocol)
        if protocol in MAIL:
            subscription.attributes[PENDING] = True
        return subscription

    def list_subscriptions_by_topic(self: Any, topic_arn: str, next_token: str | None = None) -> Any:
        subscriptions, token = listed(self, topic_arn, next_token)
        return [_as_listed(subscription) for subscription in subscriptions], token

    replace(
        sns.SNSBackend, subscribe=subscribe_by_mail, list_subscriptions_by_topic=list_subscriptions_by_topic
    )


def _as_listed(subscription: Any) -> Any:
    if not subscription.attributes.get(PENDING):
        return subscription
    shown = copy(subscription)
    shown.arn = PENDING
    return shown
