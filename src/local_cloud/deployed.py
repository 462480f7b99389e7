"""Keeps what CloudFormation got at the last deploy, so that the next cloud can get the same.

A local cloud forgets its stacks when it stops. As long as nothing that a deploy depends on has changed, the
stacks are made again from this record, without the CDK, which takes most of a deploy's time.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.state import REPOSITORY

BOOTSTRAP_STACK = "CDKToolkit"

INPUTS = (
    "app.py",
    "fipe_data_stack.py",
    "fipe_api_stack.py",
    "stage_settings.py",
    "infrastructure",
    "src/fipe_api",
    "src/fipe_page",
    "src/fipe_query",
    "lambda",
    "lambda-layer/build/api",
    "lambda-layer/build/psycopg2",
    "lambda-layer/build/query",
    "lambda-layer/build/pyarrow.sha256",
    "create_fipe_db.sql",
    "cdk.json",
    "package-lock.json",
    "requirements.txt",
)
"""The files that a deploy depends on, besides its settings: the code of the stacks, what goes into functions
and layers, and the versions of the CDK. Not what another make is building next to the layers."""

BOOTSTRAP_PARAMETERS = [{"ParameterKey": "FileAssetsBucketKmsKeyId", "ParameterValue": "AWS_MANAGED_KEY"}]
"""Parameters that `cdk bootstrap` sets itself, unlike the defaults of its template."""

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]


def fingerprint(settings: Mapping[str, str], repository: Path = REPOSITORY) -> str:
    """A text that changes whenever a deploy with these settings would make something else."""
    digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode())
    for path in _files(repository):
        digest.update(f"\0{path.relative_to(repository)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(repository: Path) -> Iterator[Path]:
    for name in INPUTS:
        path = repository / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.is_file() and "__pycache__" not in one.parts)


class Deployed:
    """The record of the last deploy, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`; nothing has to be in it."""
        self._folder = folder
        self._assets = folder / "assets"
        self._record = folder / "deployed.json"

    def is_current(self, inputs: str) -> bool:
        """Whether the last deploy was made from these inputs, a fingerprint."""
        return self._read().get("inputs") == inputs

    def is_in(self, cloudformation: Any) -> bool:
        """Whether the cloud still has exactly this stack: it was not deployed anew or deleted since."""
        stack = self._read()["stack"]
        return bool(_read_stack(cloudformation, stack["name"]) == stack)

    def save(self, inputs: str, name: str, cloudformation: Any, s3: Any) -> None:
        """Keep the templates and assets that the cloud got for the stack `name` and these inputs."""
        self.forget()
        self._assets.mkdir(parents=True)
        bucket = _asset_bucket(cloudformation)
        for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]:
            s3.download_file(bucket, entry["Key"], str(self._assets / entry["Key"]))
        stacks = {
            "bootstrap": _read_stack(cloudformation, BOOTSTRAP_STACK),
            "stack": _read_stack(cloudformation, name),
        }
        # Written last: it marks the record as complete.
        self._record.write_text(json.dumps({"inputs": inputs, **stacks}))

    def restore(self, cloudformation: Any, s3: Any) -> None:
        """Make the stacks again in a cloud that has none. Raises botocore's errors."""
        record = self._read()
        _create(cloudformation, record["bootstrap"], BOOTSTRAP_PARAMETERS)
        bucket = _asset_bucket(cloudformation)
        for asset in self._assets.iterdir():
            s3.upload_file(str(asset), bucket, asset.name)
        _create(cloudformation, record["stack"])

    def forget(self) -> None:
        """Remove the record."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):  # there is none, or it is damaged
            return {}
        return record


def _asset_bucket(cloudformation: Any) -> str:
    (stack,) = cloudformation.describe_stacks(StackName=BOOTSTRAP_STACK)["Stacks"]
    return next(
        str(output["OutputValue"]) for output in stack["Outputs"] if output["OutputKey"] == "BucketName"
    )


def _read_stack(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """What the stack was made from; None if it does not exist or is not complete."""
    try:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError:
        return None
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return None
    template = cloudformation.get_template(StackName=name)["TemplateBody"]
    return {
        "name": name,
        "template": template if isinstance(template, str) else json.dumps(template),
        "tags": stack.get("Tags", []),
    }


def _create(
    cloudformation: Any, stack: Mapping[str, Any], parameters: Sequence[Mapping[str, str]] = ()
) -> None:
    cloudformation.create_stack(
        StackName=stack["name"],
        TemplateBody=stack["template"],
        Parameters=parameters,
        Tags=stack["tags"],
        Capabilities=CAPABILITIES,
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=stack["name"], WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200}
    )
