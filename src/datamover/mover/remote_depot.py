"""A store that lies on another machine: ``Depot`` by asking over a control connection.

Stages that touch its chunks run there (``machine``); what comes back is sealed, as it lies there.

Source: SPEC F1, F10, F17; docs/spec/control-protocol.md, section 5.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from datamover.catalog.rows import ArchiveFacts, ArchiveRecord, ChunkRecord, PageRecord
from datamover.errors import DataMoverError, MalformedError
from datamover.mover.depot import Attempt
from datamover.mover.description import checked_description
from datamover.mover.mark import ATTEMPTS_MAX
from datamover.mover.sweep import Cleaned
from datamover.placement.rule import SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from datamover.catalog.rows import ArchiveState, PageKind
    from datamover.ids import ArchiveId
    from datamover.monitor.joint import Place
    from datamover.mover.count import Counts
    from datamover.wire.message import Plain

__all__ = ["Asks", "RemoteDepot"]

T = TypeVar("T")

_LOOKED_AT: Final = 1000
"""Chunks whose headers are tried, before the index is asked."""

_LONGEST_PAGE: Final = 64 << 20


class Asks(Protocol):
    """What a depot needs of a control connection."""

    def call(self, method: str, given: Plain) -> Plain:
        """Ask, and wait for the answer."""
        ...

    def stream(self, method: str, given: Plain) -> Iterator[Plain]:
        """Ask, and yield each of many answers as it comes, and the last that says it was all."""
        ...


class RemoteDepot:
    """A store's folder on another machine; see ``Depot``."""

    def __init__(self, peer: Asks, *, machine: str, directory: str) -> None:
        """Look at the store in ``directory`` of ``machine``.

        Args:
            peer: An open conversation with that machine; the caller closes it.
            machine: As the stages of a pipe name it.
            directory: The store's folder there.

        Raises:
            PeerError: It refuses, or there is no store.
            MalformedError: What it says of the store makes no sense.

        Blocking: until it answers.
        """
        self._peer = peer
        self.machine = machine
        self.directory = directory
        self.place = f"{machine}:{directory}"
        self.places: Mapping[str, Place] = {}
        found = self._call("depot.open")
        self.description = checked_description(found.get("description"), self.place)
        # Relative to a folder that only that machine knows: from here on it is absolute.
        self.directory = os.fsdecode(_made(found.get("folder"), bytes, self.place))

    def archives(self, state: ArchiveState | None = None) -> list[ArchiveRecord]:
        """See ``Depot``."""
        asked = {} if state is None else {"state": state.value}
        return list(self._rows("depot.archives", ArchiveRecord, asked))

    def chunks(self, archive: ArchiveId) -> list[ChunkRecord]:
        """See ``Depot``."""
        return list(self._rows("depot.chunks", ChunkRecord, {"archive": bytes(archive)}))

    def pages(self, archive: ArchiveId, kind: PageKind | None = None) -> Iterator[PageRecord]:
        """See ``Depot``."""
        asked: dict[str, object] = {"archive": bytes(archive)}
        if kind is not None:
            asked["kind"] = kind.value
        pieces: list[bytes] = []
        for values in self._parts("depot.pages", asked):
            piece = values.get("piece")
            if isinstance(piece, bytes):
                pieces.append(piece)
                if sum(map(len, pieces)) > _LONGEST_PAGE:
                    raise MalformedError(what=f"answer of {self.place}", reason="an endless page")
                continue
            if "record" not in values:
                continue
            page = _made(values["record"], PageRecord, self.place)
            yield replace(page, record=b"".join([*pieces, page.record]))
            pieces.clear()

    def transforms(self, chunks: Sequence[ChunkRecord]) -> tuple[int, ...] | None:
        """See ``Depot``."""
        names = [chunk.name for chunk in chunks[:_LOOKED_AT]]
        found = self._call("depot.transforms", names=names).get("transforms")
        if found is None:
            return None
        return _made(found, tuple[int, ...], self.place)

    @contextmanager
    def writing(self, record: ArchiveRecord, *, resumable: bool = False) -> Iterator[None]:
        """See ``Depot``."""
        self._call("depot.begin", record=_plain(record), resumable=resumable)
        with self._held():
            yield

    @contextmanager
    def resuming(self, record: ArchiveRecord, attempt: int) -> Iterator[Attempt]:
        """See ``Depot``."""
        found = self._call("depot.resume", record=_plain(record), attempt=attempt)
        with self._held():
            given = _made(found.get("attempt"), Attempt, self.place)
            if not attempt <= given.number < ATTEMPTS_MAX:
                reason = f"attempt {given.number} where {attempt} is the least"
                raise MalformedError(what=f"answer of {self.place}", reason=reason)
            yield given

    @contextmanager
    def _held(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(DataMoverError):
                self._call("depot.discard")
            raise

    def blocks(self, first: int) -> Iterator[bytes]:
        """See ``Depot``."""
        pieces: list[bytes] = []
        for values in self._parts("depot.blocks", {"first": first}):
            piece, rest = values.get("piece"), values.get("rest")
            if isinstance(piece, bytes):
                pieces.append(piece)
                if sum(map(len, pieces)) > _LONGEST_PAGE:
                    raise MalformedError(what=f"answer of {self.place}", reason="an endless block")
            elif isinstance(rest, bytes):
                yield b"".join([*pieces, rest])
                pieces.clear()

    def drop(self, record: ArchiveRecord) -> bool:
        """See ``Depot``."""
        return self._call("depot.drop", record=_plain(record)).get("dropped") is True

    def enter(self, name: str) -> None:
        """See ``Depot``."""
        self._call("depot.enter", name=name)

    def finish(self, counts: Counts) -> ArchiveFacts:
        """See ``Depot``."""
        found = self._call("depot.finish", counts=asdict(counts)).get("facts")
        return _made(found, ArchiveFacts, self.place)

    def clean(self, key_of: Callable[[ArchiveRecord], bytes]) -> Cleaned:  # noqa: ARG002 - see Depot
        """See ``Depot``."""
        return _made(self._call("depot.clean").get("cleaned"), Cleaned, self.place)

    def room(self) -> int:
        """See ``Depot``."""
        return _made(self._call("depot.room").get("bytes"), int, self.place)

    def rules(self) -> str | None:
        """See ``Depot``."""
        said = self._call("depot.rules").get("rules")
        text = None if said is None else _made(said, str, self.place)
        if text is not None and len(text) > SIZE_MAX:
            raise MalformedError(what=f"answer of {self.place}", reason="endless rules")
        return text

    def close(self) -> None:
        """See ``Depot``; the conversation is the caller's."""

    def _call(self, method: str, **given: object) -> Mapping[str, object]:
        return self._peer.call(method, {"folder": os.fsencode(self.directory), **given})

    def _rows(self, method: str, kind: type[T], given: Mapping[str, object]) -> Iterator[T]:
        for values in self._parts(method, given):
            if "record" in values:
                yield _made(values["record"], kind, self.place)

    def _parts(self, method: str, given: Mapping[str, object]) -> Iterator[Plain]:
        return self._peer.stream(method, {"folder": os.fsencode(self.directory), **given})


def _plain(record: ArchiveRecord) -> object:
    return msgspec.to_builtins(record, builtin_types=(bytes,))


def _made(plain: object, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(plain, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise MalformedError(what=f"answer of {what}", reason=str(error)) from None
