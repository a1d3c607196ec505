"""Files below one prefix of an S3 bucket.

Errors are botocore's; ``infra.store_errors`` puts them in words. A file appears whole or not at
all: S3 shows an object when its last byte, or its last part, has arrived.
"""

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from infra.parallel import at_once
from infra.s3_client import code_of, retrying, s3_client
from infra.stored_file import StoredFile, UnfinishedUpload

PART_BYTES = 8 * 2**20
"""Longer files travel in parts, several at once, each tried again by itself."""
_N_PARTS_AT_ONCE = 6
_MOST_KEYS = 1000
"""In one request to delete."""
_NEXT = {
    "NextContinuationToken": "ContinuationToken",
    "NextKeyMarker": "KeyMarker",
    "NextUploadIdMarker": "UploadIdMarker",
}


class BucketFiles:
    """Read and write below ``s3://bucket/prefix``; paths are relative to it."""

    def __init__(self, root: str) -> None:
        self._bucket, _, self._prefix = root.removeprefix("s3://").partition("/")
        self.refuses_conditions = False
        """Whether the server was heard to know no conditional writes."""

    def read(self, path: str) -> bytes:
        """The whole object."""
        return retrying()(self._read, self._key(path))

    def exists(self, path: str) -> bool:
        """Whether an object stands there; asked by a listing, which tells a missing bucket."""
        key = self._key(path)
        page = self._ask("list_objects_v2", Prefix=key, MaxKeys=1)
        return any(found["Key"] == key for found in page.get("Contents", []))

    def write(self, path: str, data: bytes) -> None:
        """Put the object, over an older one if there is one."""
        self._ask("put_object", Key=self._key(path), Body=data)

    def create(self, path: str, data: bytes) -> bool:
        """Put the object if there is none; False when there is, or when an answer was lost.

        Where a server ignores the condition two writers may both hear True, and where it refuses
        it a look comes before the write: callers read back what stands.
        """
        if not self.refuses_conditions:
            try:
                self._ask("put_object", Key=self._key(path), Body=data, IfNoneMatch="*")
            except Exception as error:
                code, status = code_of(error)
                if status in (409, 412):
                    return False
                if status != 501 and code != "NotImplemented":
                    raise
                self.refuses_conditions = True
            else:
                return True
        if self.exists(path):
            return False
        self.write(path, data)
        return True

    def upload(self, local: Path, path: str) -> None:
        """Put a local file, in parts if it is long; broken off, its parts are taken back."""
        if local.stat().st_size < PART_BYTES:
            self.write(path, local.read_bytes())
        else:
            retrying()(self._upload_parts, local, self._key(path))

    def download(self, path: str, local: Path, n_bytes: int | None) -> None:
        """Write the object to a local file, whole or not at all."""
        local.parent.mkdir(parents=True, exist_ok=True)
        partial = local.with_name(f".{local.name}.{secrets.token_hex(4)}")
        try:
            if n_bytes is not None and n_bytes < PART_BYTES:
                partial.write_bytes(self.read(path))
            else:
                retrying()(
                    s3_client().download_file,
                    self._bucket,
                    self._key(path),
                    str(partial),
                    Config=_in_parts(),
                )
            partial.replace(local)
        finally:
            partial.unlink(missing_ok=True)

    def files(self, prefix: str) -> Iterator[StoredFile]:
        """Every object at the prefix or below it."""
        key = self._key(prefix)
        for page in self._pages("list_objects_v2", Prefix=key):
            for found in page.get("Contents", []):
                name: str = found["Key"]
                if name.endswith("/") or not (name == key or name.startswith(_folder(key))):
                    continue
                seconds = found["LastModified"].timestamp()
                yield StoredFile(self._path(name), found["Size"], seconds, found["ETag"])

    def children(self, prefix: str) -> list[str]:
        """Names directly below the prefix."""
        folder = _folder(self._key(prefix))
        names: list[str] = []
        for page in self._pages("list_objects_v2", Prefix=folder, Delimiter="/"):
            names += [found["Prefix"] for found in page.get("CommonPrefixes", [])]
            names += [found["Key"] for found in page.get("Contents", [])]
        return [name.removeprefix(folder).rstrip("/") for name in names]

    def delete_file(self, path: str) -> None:
        """Remove one object; none there is fine."""
        self._ask("delete_object", Key=self._key(path))

    def delete(self, path: str) -> None:
        """Remove everything at the path or below it.

        Raises:
            OSError: the server said yes to the request and no to some of its objects.
        """
        keys = [self._key(file.path) for file in self.files(path)]
        for start in range(0, len(keys), _MOST_KEYS):
            wanted = [{"Key": key} for key in keys[start : start + _MOST_KEYS]]
            done = self._ask("delete_objects", Delete={"Objects": wanted, "Quiet": True})
            if refused := done.get("Errors"):
                said = " ".join(str(refused[0].get(k, "")) for k in ("Code", "Message", "Key"))
                raise OSError(f"{len(refused)} of {len(wanted)} objects were not deleted: {said}")

    def unfinished_uploads(self) -> list[UnfinishedUpload]:
        """Uploads in parts that were begun here and neither completed nor taken back."""
        try:
            pages = list(self._pages("list_multipart_uploads", Prefix=_folder(self._prefix)))
        except Exception as error:
            if code_of(error)[1] in (405, 501):
                return []  # a server that cannot say so
            raise
        return [
            UnfinishedUpload(
                self._path(found["Key"]), found["UploadId"], found["Initiated"].timestamp()
            )
            for page in pages
            for found in page.get("Uploads", [])
        ]

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Take back the parts of an upload."""
        key = self._key(upload.path)
        self._ask("abort_multipart_upload", Key=key, UploadId=upload.upload_id)

    def read_all(self, paths: Sequence[str]) -> list[bytes]:
        """Several whole objects, asked together."""
        return at_once(self.read, paths)

    def _read(self, key: str) -> bytes:
        from botocore.exceptions import (
            IncompleteReadError,
            ReadTimeoutError,
            ResponseStreamingError,
        )

        body = s3_client().get_object(Bucket=self._bucket, Key=key)["Body"]
        with body:
            try:
                return body.read()
            except (ReadTimeoutError, ResponseStreamingError, IncompleteReadError) as error:
                raise ResponseStreamingError(error=error) from error

    def _upload_parts(self, local: Path, key: str) -> None:
        with local.open("rb") as file:
            s3_client().upload_fileobj(file, self._bucket, key, Config=_in_parts())

    def _ask(self, operation: str, **arguments: Any) -> Any:
        return retrying()(getattr(s3_client(), operation), Bucket=self._bucket, **arguments)

    def _pages(self, operation: str, **arguments: Any) -> Iterator[Any]:
        # Not botocore's paginator: one that met an error once ends there, as if all were listed.
        while True:
            page = self._ask(operation, **arguments)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments |= {ask: page[told] for told, ask in _NEXT.items() if told in page}

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self._prefix, path) if part)

    def _path(self, key: str) -> str:
        return key.removeprefix(_folder(self._prefix))


def _folder(key: str) -> str:
    return f"{key}/" if key else ""


def _in_parts() -> Any:
    from boto3.s3.transfer import TransferConfig

    from infra.settings import get_settings

    return TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=PART_BYTES,
        max_concurrency=_N_PARTS_AT_ONCE,
        num_download_attempts=get_settings().store_attempts,
        preferred_transfer_client="classic",
    )
