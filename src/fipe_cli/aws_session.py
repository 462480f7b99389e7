"""AWS for the project's commands: credentials and region as any AWS tool finds them, failures in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)


class AwsError(Exception):
    """AWS cannot be asked, or refuses; one line says why and what to do."""


def aws_session() -> boto3.Session:
    """A session for AWS_PROFILE, or the keys in the environment; the region is AWS_REGION's or the profile's.

    Raises:
        AwsError: there is no such profile.
    """
    with aws_errors():
        # boto3 knows the region's variable by its older name only.
        return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turns what botocore raises into an AwsError that says what to do about it."""
    try:
        yield
    except NoRegionError as error:
        raise AwsError("no AWS region: set AWS_REGION, or the region of the profile") from error
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise AwsError(
            f"no AWS credentials ({error}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except ClientError as error:
        raise AwsError(f"AWS refuses: {error}") from error
    except BotoCoreError as error:
        raise AwsError(f"AWS cannot be asked: {error}") from error
