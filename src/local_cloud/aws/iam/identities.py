"""Whose access key it is: the account's own, a user's, or that of the session of a role."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import utcnow
from moto.iam.access_control import CreateAccessKeyFailure, IAMPolicy, create_access_key
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from local_cloud.aws.iam.policies import Call, Statement, allows, denies, statements_of
from local_cloud.state import ACCESS_KEY

_PARTITION = "aws"
_EVERYTHING: Statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}


class UnknownKeyError(Exception):
    """Nobody has this access key, or it counts no more, or the session token is another one."""


@dataclass(frozen=True)
class Identity:
    """Who has an access key.

    Args:
        arns: as whom the policy of a resource may name them: as themselves, or as the role of their session.
        secret: of the access key.
        policies: the statements that say what they may do.
        limits: statements of policies each of which must allow a call, too.
    """

    arns: tuple[str, ...]
    secret: str
    policies: tuple[Statement, ...]
    limits: tuple[list[Statement], ...] = ()

    @property
    def context(self) -> dict[str, str]:
        """Values of condition keys that are the same for all calls."""
        if not self.arns:
            return {}
        return {"aws:principalarn": self.arns[-1], "aws:principalaccount": DEFAULT_ACCOUNT_ID}

    def may(self, call: Call, of_resource: Iterable[Statement]) -> bool:
        """Whether the policies allow a call, given what the resource's own policy says to this identity.

        Within one account either of both is enough (IAM user guide, "Policy evaluation for requests within a
        single account").
        """
        granted = [*self.policies, *of_resource]
        return (
            not denies([*granted, *(one for limit in self.limits for one in limit)], call)
            and allows(granted, call)
            and all(allows(limit, call) for limit in self.limits)
        )


ANYONE = Identity(arns=(), secret="", policies=())
"""Who does not say who they are."""


def identity_of(key: str, token: str | None) -> Identity:
    """Whose access key it is.

    Args:
        key: its id.
        token: the session token that came with it.

    Raises:
        UnknownKeyError: nobody's, for now.
    """
    if key == ACCESS_KEY:
        root = f"arn:{_PARTITION}:iam::{DEFAULT_ACCOUNT_ID}:root"
        return Identity((root,), secret=ACCESS_KEY, policies=(_EVERYTHING,))
    iam = iam_backends[DEFAULT_ACCOUNT_ID][_PARTITION]
    session = sts_backends[DEFAULT_ACCOUNT_ID][_PARTITION].get_assumed_role_from_access_key(key)
    found = iam.access_keys.get(key)
    if found is None or found.status != "Active" or (session and session.expiration <= utcnow()):
        raise UnknownKeyError(key)
    headers = {} if token is None else {"X-Amz-Security-Token": token}
    try:
        owner = create_access_key(DEFAULT_ACCOUNT_ID, _PARTITION, key, headers)
        return Identity(
            arns=(owner.arn,) if session is None else (owner.arn, session.role_arn),
            secret=found.secret_access_key,
            policies=tuple(one for policy in owner.collect_policies() for one in _statements(policy)),
            limits=() if session is None else tuple(_limits(iam, session)),
        )
    except (CreateAccessKeyFailure, NotFoundException):
        raise UnknownKeyError(key) from None


def _limits(iam: Any, session: Any) -> Iterable[list[Statement]]:
    """The policy of a session, and the permissions boundary of its role."""
    if session.policy:
        yield statements_of(json.loads(session.policy))
    if boundary := iam.get_role_by_arn(session.role_arn).permissions_boundary_arn:
        yield _statements(iam.get_policy(boundary))


def _statements(policy: Any) -> list[Statement]:
    """The statements of a policy of moto's: a managed one, or text, or text in a dictionary."""
    document: Mapping[str, Any] = IAMPolicy(policy)._policy_json
    return statements_of(document)
