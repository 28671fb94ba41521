"""What stands behind an s3:// URL: a local folder, S3, or any store that obstore can speak to.

A bucket is a folder under DATA_DIR/buckets unless a setting says otherwise: `NAME=URL` for one bucket, `*=URL` for
all that are not named. URLs are s3:, gs:, az: and file:; `s3:` alone keeps the bucket's own name.
"""

import asyncio
import contextlib
import glob
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import obstore
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
KEY_BYTES_MAX = 1024
READ_BYTES = 1024 * 1024
PERMANENT = (
    "PreconditionError",
    "PermissionDeniedError",
    "UnauthenticatedError",
    "InvalidPathError",
    "NoSuchBucket",
    "404 Not Found",
    "403 Forbidden",
)
SCHEMES = ("s3", "gs", "az", "file")


class StorageUrlError(ValueError):
    """An s3:// URL, or a setting of a bucket, that cannot be understood."""


class StorageError(Exception):
    """The store refuses, or has no such object; `is_permanent` when asking again will not help."""

    def __init__(self, text: str, *, is_permanent: bool) -> None:
        super().__init__(text)
        self.is_permanent = is_permanent


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, and a key or the beginning of keys in it."""

    bucket: str
    key: str

    @property
    def url(self) -> str:
        """As the API writes it."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its size in bytes, and a tag that changes with its content (None where the store has none)."""

    key: str
    size: int
    e_tag: str | None


def parse_url(url: str) -> Place:
    """The place an s3:// URL names.

    Raises:
        StorageUrlError: naming the rule it breaks.
    """
    scheme, found, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not found:
        raise StorageUrlError("must be s3://bucket/key")
    if not BUCKET.fullmatch(bucket) or ".." in bucket:
        raise StorageUrlError(f"{bucket[:80]!r} is not the name of a bucket")
    if len(key.encode()) > KEY_BYTES_MAX:
        raise StorageUrlError(f"a key must be at most {KEY_BYTES_MAX} bytes")
    if any(part in {".", ".."} for part in key.split("/")) or not key.isprintable() or "\\" in key:
        raise StorageUrlError("a key must not contain . or .. as a folder, backslashes or control characters")
    return Place(bucket, key)


class Storage:
    """Every bucket, by what the settings bind it to."""

    def __init__(self, folder: Path, bindings: Sequence[str] = (), *, s3_endpoint_url: str = "") -> None:
        """Bind buckets; `folder` has those that are not bound.

        Raises:
            StorageUrlError: for a binding that is not NAME=URL.
        """
        self._folder = folder
        self._s3_endpoint_url = s3_endpoint_url
        self._bindings = dict(_binding(text) for text in bindings)
        self._stores: dict[str, ObjectStore] = {}

    def _store(self, bucket: str) -> ObjectStore:
        if bucket not in self._stores:
            self._stores[bucket] = self._open(bucket)
        return self._stores[bucket]

    def _open(self, bucket: str) -> ObjectStore:
        url = self._bindings.get(bucket) or self._bindings.get("*")
        if url is None:
            return _local(self._folder / bucket)
        parts = urlsplit(url)
        name = parts.netloc or bucket
        options: dict[str, Any] = dict(parse_qsl(parts.query))
        prefix = parts.path.strip("/") or None
        if parts.scheme == "file":
            return _local(Path(parts.path) if self._bindings.get(bucket) else Path(parts.path) / bucket)
        if parts.scheme == "gs":
            return GCSStore(name, prefix=prefix, **options)
        if parts.scheme == "az":
            return AzureStore(name, prefix=prefix, **options)
        return self._s3(name, prefix, options)

    def _s3(self, name: str, prefix: str | None, options: dict[str, Any]) -> ObjectStore:
        """S3 with the credentials boto3 finds: environment, profile, role."""
        session = boto3.Session()
        endpoint = options.pop("endpoint", self._s3_endpoint_url)
        if endpoint:
            options["endpoint"] = endpoint
        return S3Store(
            name,
            prefix=prefix,
            region=options.pop("region", None) or session.region_name or "us-east-1",
            virtual_hosted_style_request=not endpoint,
            client_options={"allow_http": endpoint.startswith("http://")},
            credential_provider=Boto3CredentialProvider(session) if session.get_credentials() else None,
            skip_signature=session.get_credentials() is None,
            **options,
        )

    async def find(self, place: Place) -> list[StoredObject]:
        """The object of that key if there is one; otherwise all whose keys begin so, in order.

        Raises:
            StorageError: when the store cannot be asked.
        """
        with _faults(place):
            if place.key and not place.key.endswith("/"):
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    return [_described(await obstore.head_async(self._store(place.bucket), place.key))]
            folder = place.key.rpartition("/")[0]
            found: list[StoredObject] = []
            async for batch in obstore.list(self._store(place.bucket), folder or None):
                found += [_described(meta) for meta in batch if meta["path"].startswith(place.key)]
            return sorted(found, key=lambda stored: stored.key)

    async def read(self, place: Place, begin: int, end: int, *, e_tag: str | None = None) -> AsyncIterator[bytes]:
        """The object's bytes from `begin` up to `end`, a mebibyte or so at a time.

        Raises:
            StorageError: permanent when the object is gone, or is not the one of that tag any more.
        """
        if begin >= end:
            return
        with _faults(place):
            options: dict[str, Any] = {"range": (begin, end)}
            if e_tag is not None:
                options["if_match"] = e_tag
            got = await obstore.get_async(self._store(place.bucket), place.key, options=options)  # type: ignore[arg-type]
            async for part in got.stream(min_chunk_size=READ_BYTES):
                yield bytes(part)

    @contextlib.asynccontextmanager
    async def write(self, place: Place) -> AsyncIterator["obstore.AsyncWritableFile"]:
        """An object being written, in parts; it is there, whole, when the context ends well.

        Raises:
            StorageError: when the store refuses.
        """
        with _faults(place):
            writer = obstore.open_writer_async(self._store(place.bucket), place.key, buffer_size=8 * READ_BYTES)
            yield writer
            await writer.close()

    async def put_file(self, place: Place, path: Path) -> None:
        """Store a local file.

        Raises:
            StorageError: when the store refuses.
        """
        with _faults(place):
            await obstore.put_async(self._store(place.bucket), place.key, path)

    async def delete(self, place: Place) -> None:
        """Remove an object; one that is not there is as good as removed.

        Raises:
            StorageError: when the store refuses.
        """
        with _faults(place), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store(place.bucket), place.key)

    async def forget_unfinished(self, place: Place) -> None:
        """Remove what killed writers left of objects whose keys begin so, where the store is a folder.

        There it is a file named KEY#NUMBER, which `find` does not show; other stores keep it where nobody sees it.
        """
        store = self._store(place.bucket)
        if isinstance(store, LocalStore):
            path = Path(str(store.prefix)) / place.key
            await asyncio.to_thread(_unlink_all, path.parent, f"{glob.escape(path.name)}*#*")


@contextlib.contextmanager
def _faults(place: Place) -> Iterator[None]:
    """The store's exceptions, as ours."""
    try:
        yield
    except FileNotFoundError:
        raise StorageError(f"there is no {place.url}", is_permanent=True) from None
    except PermissionError as error:
        raise StorageError(f"{place.url}: {error}", is_permanent=True) from None
    except (BaseError, OSError, ValueError) as error:
        permanent = type(error).__name__ in PERMANENT or any(sign in str(error) for sign in PERMANENT)
        text = "it has changed since" if type(error).__name__ == "PreconditionError" else str(error).split("\n", 1)[0]
        raise StorageError(f"{place.url}: {text[:500]}", is_permanent=permanent) from None


def _unlink_all(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)


def _local(folder: Path) -> ObjectStore:
    return LocalStore(folder, mkdir=True)


def _described(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], meta["e_tag"])


def _binding(text: str) -> tuple[str, str]:
    name, found, url = text.partition("=")
    scheme = url.partition(":")[0]
    if not found or scheme not in SCHEMES or not (name == "*" or BUCKET.fullmatch(name)):
        raise StorageUrlError(f"must be NAME=URL or *=URL with a URL of {', '.join(SCHEMES)}: {text!r}")
    return name, url
