"""A depot for another machine: what ``RemoteDepot`` asks, answered from the folder that is here.

One service belongs to one conversation.  What a lost conversation was writing is left as if the
writer had been killed: resumable, or discarded.

    depot.create      folder, description     -> a store is there
    depot.open        folder                  -> the same, absolute; description
    depot.archives    folder, state           -> a part for each archive
    depot.chunks      folder, archive         -> a part for each chunk
    depot.pages       folder, archive, kind   -> a part for each page, long ones in pieces
    depot.transforms  folder, chunk names     -> what the archive declares
    depot.begin       folder, record          -> it is held, and begun
    depot.resume      folder, record, attempt -> it is held, and all that is durable is entered
    depot.blocks      folder, first           -> a part for each stored block, long ones in pieces
    depot.drop        folder, record          -> an unfinished archive is gone
    depot.enter       folder, chunk name      -> its rows are there
    depot.finish      folder, counts          -> facts; it is complete and durable
    depot.discard     folder                  -> what was begun is gone
    depot.clean       folder                  -> what was done
    depot.room        folder                  -> bytes
    depot.rules       folder                  -> the text of its placement rules

Source: seed FIG. 10 (1022, 1030); SPEC F1, F10, F17; docs/spec/control-protocol.md, section 5.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec

from datamover.catalog.rows import ArchiveRecord, ArchiveState, ChunkRecord, PageKind
from datamover.errors import MalformedError, UsageError
from datamover.ids import ArchiveId, BlockNumber, ChunkNumber
from datamover.media.naming import parse_chunk_name
from datamover.mover.count import Counts
from datamover.mover.depot import LocalDepot, make_depot
from datamover.mover.description import checked_description, plain_description
from datamover.mover.mark import ATTEMPTS_MAX
from datamover.units import Bytes

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from datamover.catalog.rows import PageRecord
    from datamover.wire.message import Plain

__all__ = ["DepotService", "Permit"]

Permit = Callable[[str, Path], Path]
"""Called with "read" or "append" and a store's folder; returns the folder that was permitted, which
is the one that is used, and raises what it refuses with."""

Values = Mapping[str, object] | Iterator[Mapping[str, object]]
T = TypeVar("T")

_MOST_DEPOTS: Final = 64
_PIECE: Final = 512 << 10
_READ: Final = "read"
_APPEND: Final = "append"


class _Folder(msgspec.Struct, frozen=True, kw_only=True):
    folder: Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]


class _Archives(_Folder, frozen=True, kw_only=True):
    state: ArchiveState | None = None


class _Archive(_Folder, frozen=True, kw_only=True):
    archive: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    kind: PageKind | None = None


class _Names(_Folder, frozen=True, kw_only=True):
    names: Annotated[list[str], msgspec.Meta(max_length=1000)]


class _Record(_Folder, frozen=True, kw_only=True):
    record: ArchiveRecord
    resumable: bool = False
    attempt: Annotated[int, msgspec.Meta(ge=0, lt=ATTEMPTS_MAX)] = 0


class _First(_Folder, frozen=True, kw_only=True):
    first: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _Name(_Folder, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(max_length=255)]


class _Counts(_Folder, frozen=True, kw_only=True):
    counts: Counts


class _Description(_Folder, frozen=True, kw_only=True):
    description: dict[str, object]


class DepotService:
    """Answers for the depots of one conversation; close it with the conversation."""

    def __init__(self, permit: Permit) -> None:
        """Make a service.

        Args:
            permit: Asked before a depot is opened for reading, and before something is added.
        """
        self._permit = permit
        # By the folder that was permitted: a link may lead elsewhere at the next call.
        self._depots: dict[Path, LocalDepot] = {}
        self._writing: dict[Path, AbstractContextManager[object]] = {}

    def methods(self) -> dict[str, Callable[[Plain], Values]]:
        """Return what it answers, by the name of the method."""
        return {
            "depot.create": self._create,
            "depot.open": self._open,
            "depot.archives": self._archives,
            "depot.chunks": self._chunks,
            "depot.pages": self._pages,
            "depot.transforms": self._transforms,
            "depot.begin": self._begin,
            "depot.resume": self._resume,
            "depot.blocks": self._blocks,
            "depot.drop": self._drop,
            "depot.enter": self._enter,
            "depot.finish": self._finish,
            "depot.discard": self._discard,
            "depot.clean": self._clean,
            "depot.room": self._room,
            "depot.rules": self._rules,
        }

    def close(self) -> None:
        """Discard what is unfinished, and let go of every depot; again is harmless."""
        for path in list(self._writing):
            self._give_up(path)
        for depot in self._depots.values():
            depot.close()
        self._depots.clear()

    # ---- reading

    def _open(self, given: Plain) -> Values:
        depot = self._depot(_read(given, _Folder).folder, _READ)
        return {
            "folder": os.fsencode(depot.directory),
            "description": plain_description(depot.description),
        }

    def _archives(self, given: Plain) -> Values:
        asked = _read(given, _Archives)
        records = self._depot(asked.folder, _READ).archives(asked.state)
        return ({"record": _plain(record)} for record in records)

    def _chunks(self, given: Plain) -> Values:
        asked = _read(given, _Archive)
        found = self._depot(asked.folder, _READ).chunks(ArchiveId(asked.archive))
        return ({"record": _plain(record)} for record in found)

    def _pages(self, given: Plain) -> Values:
        asked = _read(given, _Archive)
        depot = self._depot(asked.folder, _READ)
        pages = depot.pages(ArchiveId(asked.archive), asked.kind)
        return (piece for page in pages for piece in _pieces(page))

    def _transforms(self, given: Plain) -> Values:
        asked = _read(given, _Names)
        chunks = [_chunk_named(_file_name(name)) for name in asked.names]
        found = self._depot(asked.folder, _READ).transforms(chunks)
        return {"transforms": None if found is None else list(found)}

    def _room(self, given: Plain) -> Values:
        return {"bytes": self._depot(_read(given, _Folder).folder, _READ).room()}

    def _rules(self, given: Plain) -> Values:
        return {"rules": self._depot(_read(given, _Folder).folder, _READ).rules()}

    # ---- writing

    def _create(self, given: Plain) -> Values:
        asked = _read(given, _Description)
        path = self._permitted(asked.folder, _APPEND)
        make_depot(path, checked_description(asked.description, str(path)))
        return {"folder": os.fsencode(path)}

    def _begin(self, given: Plain) -> Values:
        asked = _read(given, _Record)
        path = self._free(asked.folder)
        writing = self._opened(path).writing(asked.record, resumable=asked.resumable)
        writing.__enter__()
        self._writing[path] = writing
        return {}

    def _resume(self, given: Plain) -> Values:
        asked = _read(given, _Record)
        path = self._free(asked.folder)
        resuming = self._opened(path).resuming(asked.record, asked.attempt)
        attempt = resuming.__enter__()
        self._writing[path] = resuming
        return {"attempt": asdict(attempt)}

    def _blocks(self, given: Plain) -> Values:
        asked = _read(given, _First)
        found = self._opened(self._begun(asked.folder)).blocks(asked.first)
        return (piece for record in found for piece in _cut(record))

    def _drop(self, given: Plain) -> Values:
        asked = _read(given, _Record)
        return {"dropped": self._depot(asked.folder, _APPEND).drop(asked.record)}

    def _enter(self, given: Plain) -> Values:
        asked = _read(given, _Name)
        self._opened(self._begun(asked.folder)).enter(_file_name(asked.name))
        return {}

    def _finish(self, given: Plain) -> Values:
        asked = _read(given, _Counts)
        path = self._begun(asked.folder)
        facts = self._opened(path).finish(asked.counts)
        self._writing.pop(path).__exit__(None, None, None)
        return {"facts": asdict(facts)}

    def _discard(self, given: Plain) -> Values:
        self._give_up(self._permitted(_read(given, _Folder).folder, _APPEND))
        return {}

    def _clean(self, given: Plain) -> Values:
        done = self._depot(_read(given, _Folder).folder, _APPEND).clean(None)
        return {"cleaned": _plain(done)}

    # ---- inside

    def _permitted(self, folder: bytes, action: str) -> Path:
        path = Path(os.path.abspath(os.fsdecode(folder)))  # noqa: PTH100 - must not follow links
        return self._permit(action, path)

    def _depot(self, folder: bytes, action: str) -> LocalDepot:
        return self._opened(self._permitted(folder, action))

    def _opened(self, path: Path) -> LocalDepot:
        depot = self._depots.get(path)
        if depot is None:
            if len(self._depots) >= _MOST_DEPOTS:
                raise UsageError(reason=f"a conversation has at most {_MOST_DEPOTS} depots")
            depot = self._depots[path] = LocalDepot(path)
        return depot

    def _free(self, folder: bytes) -> Path:
        path = self._permitted(folder, _APPEND)
        if path in self._writing:
            raise UsageError(reason="this conversation writes an archive of that store already")
        return path

    def _begun(self, folder: bytes) -> Path:
        path = self._permitted(folder, _APPEND)
        if path not in self._writing:
            raise UsageError(reason="no archive was begun in this conversation")
        return path

    def _give_up(self, path: Path) -> None:
        writing = self._writing.pop(path, None)
        if writing is None:
            return
        try:
            writing.__exit__(_GivenUpError, _GivenUpError(), None)
        except _GivenUpError:
            return


def _pieces(page: PageRecord) -> Iterator[Mapping[str, object]]:
    """Cut a page so that each piece fits a message; the last one comes with the facts."""
    for at in range(0, max(0, len(page.record) - _PIECE), _PIECE):
        yield {"piece": page.record[at : at + _PIECE]}
    rest = (len(page.record) - 1) // _PIECE * _PIECE if page.record else 0
    yield {"record": _plain(replace(page, record=page.record[rest:]))}


def _cut(record: bytes) -> Iterator[Mapping[str, object]]:
    """Cut a block's record so that each piece fits a message."""
    rest = max(0, len(record) - 1) // _PIECE * _PIECE
    for at in range(0, rest, _PIECE):
        yield {"piece": record[at : at + _PIECE]}
    yield {"rest": record[rest:]}


class _GivenUpError(Exception):
    """Ends the block in which an archive was being written."""


def _read(given: Plain, kind: type[T]) -> T:
    try:
        return msgspec.convert(given, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise MalformedError(what="call", reason=str(error)) from None


def _plain(value: object) -> dict[str, object]:
    found = msgspec.to_builtins(value, builtin_types=(bytes,))
    assert isinstance(found, dict)  # noqa: S101 - of a dataclass
    return found


def _file_name(name: str) -> str:
    """Refuse a name that leads out of the folder of chunks."""
    if parse_chunk_name(name) is None:
        raise MalformedError(what="call", reason=f"not the name of a chunk: {name[:80]!r}")
    return name


def _chunk_named(name: str) -> ChunkRecord:
    """A record that only says where to look."""
    return ChunkRecord(
        archive=ArchiveId(bytes(16)),
        number=ChunkNumber(0),
        name=name,
        first_block=BlockNumber(0),
        blocks=0,
        length=Bytes(0),
    )
