"""A bucket of S3 as a place for the files of months."""

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, Any

from botocore.exceptions import ClientError

from fipe_api.database.partitions import FILE, KEY, file_of, folder_of

NOTE = "fipe-fingerprint"
"""Kept in the object's metadata, too, so that it is known without reading the file."""
NOT_THERE = ("404", "NoSuchKey", "403", "AccessDenied")
"""S3's answers for an object that is not there; 403 if one may not list the bucket (S3 API, "HeadObject")."""


class Bucket:
    """A fipe_api.database.partitions.Store.

    Args:
        client: an S3 client.
        name: the bucket.
        prefix: what all keys begin with; empty, or a path without slashes at its ends.
    """

    def __init__(self, client: Any, name: str, prefix: str = "") -> None:
        self._client = client
        self._name = name
        self._prefix = f"{prefix}/" if prefix else ""

    def __str__(self) -> str:
        return f"s3://{self._name}/{self._prefix}".rstrip("/")

    def note(self, month: str) -> str | None:
        """See Store. Raises ClientError if S3 refuses."""
        try:
            found = self._client.head_object(Bucket=self._name, Key=self._key(month))
        except ClientError as error:
            if error.response["Error"]["Code"] in NOT_THERE:
                return None
            raise
        note: str | None = found["Metadata"].get(NOTE)
        return note

    @contextmanager
    def replaced(self, month: str, note: str) -> Iterator[IO[bytes]]:
        """See Store. S3 shows all of the old object, or all of the new. Raises ClientError if it refuses."""
        with TemporaryFile() as file:
            yield file
            file.seek(0)
            self._client.put_object(
                Bucket=self._name,
                Key=self._key(month),
                Body=file,
                ContentType="application/vnd.apache.parquet",
                Metadata={NOTE: note},
            )

    def months(self) -> list[str]:
        """The months that have files, as YYYY-MM. Raises ClientError if S3 refuses."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._name, Prefix=f"{self._prefix}{KEY}="
        )
        keys = (
            entry["Key"].removeprefix(self._prefix) for page in pages for entry in page.get("Contents", ())
        )
        found = (key.split("/") for key in keys if key.endswith(f"/{FILE}"))
        return sorted(folder.removeprefix(f"{KEY}=") for folder, file in found if file == FILE)

    def place_of(self, month: str) -> str:
        """Where the files of a month are, for people."""
        return f"{self}/{folder_of(month)}"

    def _key(self, month: str) -> str:
        return f"{self._prefix}{file_of(month)}"
