"""Prints where the present credentials work, as the CDK writes it: aws://123456789012/sa-east-1."""

import sys

from fipe_cli.aws_session import AwsError, aws_errors, aws_session


def aws_environment() -> str:
    """The account that STS knows the credentials by, and the region.

    Raises:
        AwsError: no credentials, no region, or no answer.
    """
    session = aws_session()
    with aws_errors():
        account = session.client("sts").get_caller_identity()["Account"]
    return f"aws://{account}/{session.region_name}"


if __name__ == "__main__":
    try:
        print(aws_environment())
    except AwsError as error:
        sys.exit(str(error))
