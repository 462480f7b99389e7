"""AWS's APIs for tests, served by moto over real HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from local_cloud.aws.moto_patches.tables import lock_tables


@contextmanager
def aws_apis() -> Iterator[str]:
    """Serves the AWS APIs on a free port, UpdateItem as atomic as in AWS; gives the endpoint's URL."""
    lock_tables()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield f"http://localhost:{port}"
    finally:
        server.stop()


def client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def make_pace_table(dynamodb: Any, name: str) -> None:
    """Makes a table like the one that a stage keeps its shared pace in."""
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "source", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "source", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
