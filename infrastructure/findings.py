"""Findings of cdk-nag and the CDK that we accept, each with its reason."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, finding: str, reason: str) -> None:
    """Accepts a finding for a construct and everything in it."""
    Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))
