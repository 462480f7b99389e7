"""Findings of cdk-nag and of the CDK's own validation that are accepted, each with its reason."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, finding: str, reason: str) -> None:
    """Accepts a finding for a construct and all within it."""
    Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))
