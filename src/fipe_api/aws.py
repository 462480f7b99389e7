"""Clients of AWS, by botocore alone: importing boto3 brings its S3 transfers, which nothing here uses."""

from functools import cache
from typing import Any

from botocore.session import Session


@cache
def session() -> Session:
    """The session of this execution environment."""
    return Session()


def client(service: str) -> Any:
    """A client, as boto3.client makes it."""
    return session().create_client(service)
