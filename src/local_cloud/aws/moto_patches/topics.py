"""Patches of moto's SNS."""

import json
import re
from copy import copy
from typing import Any

from moto.sns import models as sns
from moto.sns.exceptions import InvalidParameterValue

from local_cloud.aws.moto_patches.members import replace

MAIL = ("email", "email-json")
PENDING, RAW = "PendingConfirmation", "RawMessageDelivery"
LARGEST_MESSAGE_BYTES = 262_144

_SUBJECT = re.compile(r"[!-~][ -~]{0,98}")
"""ASCII without line breaks, shorter than 100 characters; it begins with a letter, a number or a sign."""


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


def refuse_what_sns_refuses() -> None:
    """moto takes any subject and structure, and "false" for a yes.

    Sources: SNS API reference, "Publish" (Subject, MessageStructure) and "SetSubscriptionAttributes".
    """
    publish, deliver = sns.SNSBackend.publish, sns.Subscription.publish

    def publish_checked(self: Any, message: str, arn: str | None, *given: Any, **options: Any) -> str:
        subject = options.get("subject")
        if subject is not None and not _SUBJECT.fullmatch(subject):
            raise InvalidParameterValue("Invalid parameter: Subject")
        if len(message.encode()) > LARGEST_MESSAGE_BYTES:
            raise InvalidParameterValue("Invalid parameter: Message too long")
        if options.get("message_structure") == "json":
            _check_structure(message)
        message_id: str = publish(self, message, arn, *given, **options)
        return message_id

    def deliver_as_subscribed(self: Any, *given: Any, **options: Any) -> None:
        if str(self.attributes.get(RAW)).lower() == "false":
            del self.attributes[RAW]
        deliver(self, *given, **options)

    replace(sns.SNSBackend, publish=publish_checked)
    replace(sns.Subscription, publish=deliver_as_subscribed)


def _check_structure(message: str) -> None:
    try:
        structure = json.loads(message)
    except ValueError as error:
        raise InvalidParameterValue(
            "Invalid parameter: Message Structure - JSON message body failed to parse"
        ) from error
    if not isinstance(structure, dict) or "default" not in structure:
        raise InvalidParameterValue(
            "Invalid parameter: Message Structure - No default entry in JSON message body"
        )


def _as_listed(subscription: Any) -> Any:
    if not subscription.attributes.get(PENDING):
        return subscription
    shown = copy(subscription)
    shown.arn = PENDING
    return shown
