"""A bucket of an S3-compatible object store as a medium.

    PREFIX/chunks/NAME    whole chunks, an object each
    PREFIX/label          whose they are

An object is there whole or not at all: the server makes it visible when its last part is in.

Source: docs/spec/media-format.md, "Object stores"; SPEC F9, F13; ADR 0026.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

import obstore
from obstore.store import S3Store

from datamover.errors import ChunkMissingError, StoreError, UsageError
from datamover.media.label import LABEL_MAX, VolumeLabel
from datamover.media.medium import Traits
from datamover.media.naming import require_name
from datamover.media.object_access import ObjectAccess
from datamover.media.object_errors import is_not_honoured, is_taken, refusals
from datamover.media.object_reader import AHEAD, TAIL, ObjectReader
from datamover.media.object_requests import ObjectRequests
from datamover.media.object_writer import Areas, ObjectWriter
from datamover.units import MIB, Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import S3Config

    from datamover.media.address import MediumAddress
    from datamover.media.label import Owner

__all__ = ["Honoured", "ObjectMedium"]

_CHUNKS: Final = "chunks"
_LABEL: Final = "label"
_PROBE: Final = "probe"

_PART: Final = Bytes(8 * MIB)
_PART_LEAST: Final = 5 * MIB
_PART_MOST: Final = 512 * MIB
_PARALLEL: Final = 4
_PARALLEL_MOST: Final = 64
_GRACE_S: Final = 24 * 3600
_NUMBER: Final = re.compile(r"\d{1,9}")

_CONNECT_S: Final = 5
_REQUEST_S: Final = 300
_SILENCE_S: Final = 30
_REPEATS: Final = 5
_REPEATING_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Honoured:
    """What an endpoint was seen to honour.

    Attributes:
        create: A put with ``If-None-Match: *`` fails where there is an object.
    """

    create: bool


class ObjectMedium:
    """Chunks as objects; use it as a context manager, or ``close`` it."""

    def __init__(self, address: MediumAddress, owner: Owner | None = None) -> None:
        """Name the place; nothing is asked of the server before it is needed.

        Args:
            address: ``s3://BUCKET/PREFIX``, with the options endpoint, region, part, parallel, and
                grace: seconds after which an upload that was begun is taken for a dead writer's.
            owner: Whose chunks these are; the place is labelled so, or held against it.

        Raises:
            UsageError: The address cannot be one of an object store.
            MediumRefusedError: There is no key in the environment.
        """
        address.require_options("endpoint", "region", "part", "parallel", "grace")
        part = address.size("part", _PART)
        if not _PART_LEAST <= part <= _PART_MOST:
            raise UsageError(reason=f"part: from 5MiB to 512MiB, not {part} bytes")
        self._parallel = _number(address, "parallel", _PARALLEL)
        if not 1 <= self._parallel <= _PARALLEL_MOST:
            raise UsageError(reason=f"parallel: from 1 to {_PARALLEL_MOST}, not {self._parallel}")
        self._grace_s = _number(address, "grace", _GRACE_S)
        self._access = access = ObjectAccess.of(address)
        self._where = access.where
        self._owner = owner
        self._areas = Areas(part)
        self._open: dict[str, int] = {}
        self._is_seen = False
        self._client: S3Store | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def traits(self) -> Traits:
        """Random access, rewritable."""
        return Traits(sequential=False, rewritable=True, block=Bytes(1))

    def create(self, name: str) -> ObjectWriter:
        """Start a chunk; see ``Medium.create``."""
        require_name(name)
        self._look()
        key = self._key(name)
        with refusals(self._where):
            try:
                obstore.head(self._store, key)
            except FileNotFoundError:
                pass
            else:
                raise StoreError(store=self._where, reason=f"chunk {name} is already there")
        return ObjectWriter(
            name,
            store=self._store,
            key=key,
            where=self._where,
            areas=self._areas,
            parallel=self._parallel,
            discard=lambda: self._discard(key),
        )

    def open(self, name: str) -> ObjectReader:
        """Open a whole chunk; see ``Medium.open``."""
        require_name(name)
        self._look()
        key = self._key(name)
        with refusals(self._where):
            try:
                size, tail = self._end_of(key)
            except FileNotFoundError:
                raise ChunkMissingError(chunk=name) from None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=AHEAD, thread_name_prefix="ahead")
        return ObjectReader(
            name,
            store=self._store,
            key=key,
            where=self._where,
            size=size,
            tail=tail,
            pool=self._pool,
        )

    def names(self) -> Iterator[str]:
        """Yield the names of whole chunks, sorted; see ``Medium.names``."""
        folder = self._key("")
        found: list[str] = []
        with refusals(self._where):
            for page in obstore.list(self._store, folder.rstrip("/")):
                found.extend(str(one["path"]).removeprefix(folder) for one in page)
        self._is_seen = True
        yield from sorted(name for name in found if _is_name(name))

    def forget(self, name: str) -> None:
        """Drop a chunk; see ``Medium.forget``."""
        require_name(name)
        self._look()
        ObjectRequests(self._access).delete(self._key(name))

    def clean(self) -> list[str]:
        """Take back the uploads of dead writers; see ``Medium.clean``.

        A server cannot tell a dead writer from a slow one: dead is whose upload is older than the
        grace time, by the server's clock.
        """
        folder = self._key("")
        requests = ObjectRequests(self._access)
        removed = []
        for upload in list(requests.uploads(folder)):
            name = upload.key.removeprefix(folder)
            if upload.key.startswith(folder) and _is_name(name) and upload.age_s >= self._grace_s:
                requests.abort(upload)
                removed.append(name)
        return sorted(removed)

    def label(self) -> VolumeLabel | None:
        """Return the label of this place; None where there is none.

        Raises:
            FormatError: It is damaged.
            StoreError: It cannot be read.
        """
        with refusals(self._where):
            try:
                whole = obstore.get(self._store, self._access.object_key(_LABEL))
                if whole.meta["size"] > LABEL_MAX:
                    raise StoreError(store=self._where, reason="the label is too long for one")
                return VolumeLabel.decode(memoryview(whole.bytes()))
            except FileNotFoundError:
                return None

    def probe(self) -> Honoured:
        """Try out what the endpoint honours, with a small object that is removed again.

        Nothing depends on it for being right: it says how much more than that there is.
        """
        key = self._access.object_key(_PROBE)
        with refusals(self._where):
            obstore.put(self._store, key, b"1")
            try:
                obstore.put(self._store, key, b"2", mode="create", use_multipart=False)
            except Exception as error:
                create = is_taken(error)
                if not create and not is_not_honoured(error):
                    raise
            else:
                create = False
            finally:
                ObjectRequests(self._access).delete(key)
        return Honoured(create=create)

    def close(self) -> None:
        """Let go of the connections; writers that are open keep theirs."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def _store(self) -> S3Store:
        """The client, with its connections; they go with it."""
        if self._client is None:
            self._client = _store(self._access)
        return self._client

    def _key(self, name: str) -> str:
        return self._access.object_key(_CHUNKS, name)

    def _look(self) -> None:
        """Find out, once, whether the bucket is there, and whose it is."""
        if self._is_seen:
            return
        with refusals(self._where):
            # An object that is not there and a bucket that is not there answer alike.
            for _ in obstore.list(self._store, self._key("").rstrip("/"), chunk_size=1):
                break
        if self._owner is not None:
            if self.label() is None:
                self._write_label(self._owner)
            label = self.label()
            # Another may have written one at the same time: what is there now is what holds.
            if label is not None:
                self._owner.require(label, self._where)
        self._is_seen = True

    def _write_label(self, owner: Owner) -> None:
        with refusals(self._where):
            label = owner.label(f"{self._access.bucket}/{self._access.prefix}".rstrip("/")[:200])
            obstore.put(
                self._store,
                self._access.object_key(_LABEL),
                label.encode(),
                use_multipart=False,
            )

    def _end_of(self, key: str) -> tuple[int, memoryview]:
        """Return an object's size and its last bytes; one request, unless it is empty."""
        try:
            found = obstore.get(self._store, key, options={"range": {"suffix": TAIL}})
            return int(found.meta["size"]), memoryview(found.bytes())
        except FileNotFoundError:
            raise
        except Exception:
            # Of an empty object no range can be had, and each server says so in its own way.
            if int(obstore.head(self._store, key)["size"]):
                raise
            return 0, memoryview(b"")

    def _discard(self, key: str) -> None:
        """Take back what is begun and not finished of one key."""
        requests = ObjectRequests(self._access)
        for upload in list(requests.uploads(key)):
            if upload.key == key:
                requests.abort(upload)


def _store(access: ObjectAccess) -> S3Store:
    config: S3Config = {
        "region": access.region,
        "access_key_id": access.key,
        "secret_access_key": access.secret,
        "virtual_hosted_style_request": not access.endpoint,
    }
    if access.token:
        config["session_token"] = access.token
    if access.endpoint:
        config["endpoint"] = access.endpoint
    return S3Store(
        access.bucket,
        config=config,
        client_options={
            "allow_http": access.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "timeout": timedelta(seconds=_REQUEST_S),
            "read_timeout": timedelta(seconds=_SILENCE_S),
        },
        retry_config={
            "max_retries": _REPEATS,
            "retry_timeout": timedelta(seconds=_REPEATING_S),
        },
    )


def _is_name(name: str) -> bool:
    try:
        require_name(name)
    except UsageError:
        return False
    return True


def _number(address: MediumAddress, name: str, default: int) -> int:
    text = address.options.get(name)
    if text is None:
        return default
    if _NUMBER.fullmatch(text) is None:
        raise UsageError(reason=f"{name}: not a number: {text!r:.60}")
    return int(text)
