"""A stream of records, read: sans I/O, one record header at a time.

The reader holds the grammar; the table says which record may come in which state.

    state    record          next     events
    START    session header  SESSION  SessionBegan
    SESSION  archive header  ARCHIVE  ArchiveBegan
    ARCHIVE  chunk header    CHUNK    ChunkBegan                          not in ENCLOSING
    ARCHIVE  tag             CHUNK    ChunkBegan, BlockFound              ENCLOSING only
    CHUNK    tag             CHUNK    BlockFound, maybe a change of chunk (ENCLOSING)
    CHUNK    options         CHUNK    OptionsFound                        after a tag
    CHUNK    chunk header    CHUNK    ChunkEnded, ChunkBegan              LEADING only
    CHUNK    chunk footer    ARCHIVE  ChunkEnded                          FULL only
    CHUNK    archive footer  SESSION  ChunkEnded, ArchiveEnded            not in FULL
    ARCHIVE  archive footer  SESSION  ArchiveEnded
    any      session footer  END      what is open ends, SessionEnded     not in a chunk of FULL
    any      unknown kind    same     Skipped

Source: docs/spec/wire-format.md, "Grammar"; seed FIG. 13; SPEC H2-H10.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from datamover.errors import MalformedError, TruncatedError
from datamover.ids import ChunkNumber
from datamover.units import Bytes
from datamover.wire.archive import ArchiveFooter, ArchiveHeader
from datamover.wire.chunk import ChunkFooter, ChunkHeader
from datamover.wire.framing import Framing
from datamover.wire.options import OptionsHeader
from datamover.wire.record import CRC_SIZE, PRELUDE, Prelude, check
from datamover.wire.session import SessionFooter, SessionHeader
from datamover.wire.tag import MAGIC as TAG_MAGIC
from datamover.wire.tag import TagHeader

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = [
    "ArchiveBegan",
    "ArchiveEnded",
    "BlockFound",
    "ChunkBegan",
    "ChunkEnded",
    "Event",
    "OptionsFound",
    "SessionBegan",
    "SessionEnded",
    "Skipped",
    "StreamReader",
]

_WHAT: Final = "stream"


class SessionBegan(NamedTuple):
    """A session header was read."""

    header: SessionHeader


class ArchiveBegan(NamedTuple):
    """An archive header was read."""

    header: ArchiveHeader


class ChunkBegan(NamedTuple):
    """A chunk begins; without a header where the framing has none."""

    chunk: ChunkNumber
    header: ChunkHeader | None


class BlockFound(NamedTuple):
    """A tag was read; its payload follows.  ``offset`` is the tag's place in the session."""

    tag: TagHeader
    offset: int


class OptionsFound(NamedTuple):
    """An options record was read."""

    options: OptionsHeader


class ChunkEnded(NamedTuple):
    """A chunk ends; its block table follows where the framing has footers."""

    chunk: ChunkNumber
    footer: ChunkFooter | None


class ArchiveEnded(NamedTuple):
    """An archive ends; without a footer it goes on in another session."""

    archive: bytes
    footer: ArchiveFooter | None


class SessionEnded(NamedTuple):
    """A session footer was read: nothing follows."""

    footer: SessionFooter


class Skipped(NamedTuple):
    """A sound record of a kind that this release does not know; its payload follows."""

    magic: bytes


Event: TypeAlias = (
    SessionBegan
    | ArchiveBegan
    | ChunkBegan
    | BlockFound
    | OptionsFound
    | ChunkEnded
    | ArchiveEnded
    | SessionEnded
    | Skipped
)


class _State(Enum):
    START = auto()
    SESSION = auto()
    ARCHIVE = auto()
    CHUNK = auto()
    END = auto()


@dataclass(slots=True)
class _Open:
    """What is open now."""

    state: _State = _State.START
    session: SessionHeader | None = None
    archive: bytes = b""
    chunk: ChunkNumber | None = None
    last_chunk: int = -1
    tagged: bool = False


class StreamReader:
    """Takes one record header after the other and says what they mean.

    The caller reads ``PRELUDE_SIZE`` bytes, asks ``header_length`` how long the header is, reads
    the rest, calls ``take``, and then reads or skips ``payload_length`` bytes.  After an error the
    reader is broken for good.

    Attributes:
        position: Bytes taken so far, payloads included.
        payload_length: Bytes that follow the header taken last.
    """

    PRELUDE_SIZE: Final = PRELUDE.size

    def __init__(self) -> None:
        self._open = _Open()
        self.position = 0
        self.payload_length = Bytes(0)
        self._handlers: dict[bytes, Callable[[memoryview], list[Event]]] = {
            TAG_MAGIC: self._tag,
            SessionHeader.MAGIC: self._session_header,
            SessionFooter.MAGIC: self._session_footer,
            ArchiveHeader.MAGIC: self._archive_header,
            ArchiveFooter.MAGIC: self._archive_footer,
            ChunkHeader.MAGIC: self._chunk_header,
            ChunkFooter.MAGIC: self._chunk_footer,
            OptionsHeader.MAGIC: self._options,
        }

    @property
    def is_complete(self) -> bool:
        """Whether the session footer was read."""
        return self._open.state is _State.END

    @staticmethod
    def header_length(prelude: memoryview) -> Bytes:
        """Return how long the header is that begins with these bytes, at most 4096.

        Raises:
            FormatError: No header begins so.
        """
        return Prelude.decode(prelude).header_length

    def take(self, header: memoryview) -> list[Event]:
        """Read one whole header; return what it means, in order.

        Raises:
            FormatError: It is damaged, of a newer major version, or not expected here.
        """
        prelude = Prelude.decode(header)
        if self._open.state is _State.END:
            raise MalformedError(what=_WHAT, reason="bytes behind the session footer")
        handler = self._handlers.get(prelude.magic)
        if handler is None:
            # Not known is not the same as not sound: garbage must not be skipped by its length.
            check(header, magic=prelude.magic, what="record", least=PRELUDE.size + CRC_SIZE)
            self._require(self._open.session is not None, "no session header")
            events: list[Event] = [Skipped(prelude.magic)]
        else:
            events = handler(header)
        self.payload_length = prelude.payload_length
        self.position += prelude.header_length + prelude.payload_length
        return events

    def finish(self) -> None:
        """Say that nothing more comes.

        Raises:
            TruncatedError: The session footer is missing: the session is not complete.
        """
        if not self.is_complete:
            raise TruncatedError(
                what="session", need=Bytes(self.position + 1), have=Bytes(self.position)
            )

    def _session_header(self, data: memoryview) -> list[Event]:
        header = SessionHeader.decode(data)
        self._require(self._open.state is _State.START, "a second session header")
        self._require(header.framing in Framing.__members__.values(), "an unknown framing")
        self._open.session = header
        self._open.state = _State.SESSION
        return [SessionBegan(header)]

    def _archive_header(self, data: memoryview) -> list[Event]:
        header = ArchiveHeader.decode(data)
        self._require(self._open.state is _State.SESSION, "an archive header in the wrong place")
        self._open.archive = header.archive
        self._open.last_chunk = -1
        self._open.state = _State.ARCHIVE
        return [ArchiveBegan(header)]

    def _chunk_header(self, data: memoryview) -> list[Event]:
        header = ChunkHeader.decode(data)
        framing, state = self._framing(), self._open.state
        allowed = (state is _State.ARCHIVE and framing is not Framing.ENCLOSING) or (
            state is _State.CHUNK and framing is Framing.LEADING
        )
        self._require(allowed, "a chunk header in the wrong place")
        self._require(header.archive == self._open.archive, "a chunk of another archive")
        return [*self._leave_chunk(), *self._enter_chunk(header.chunk, header)]

    def _tag(self, data: memoryview) -> list[Event]:
        tag = TagHeader.decode(data)
        events: list[Event] = []
        new = self._open.archive and self._open.chunk != tag.chunk
        if new and self._framing() is Framing.ENCLOSING:
            # Numbers only rise, so a chunk that ended is never opened again.
            self._require(tag.chunk > self._open.last_chunk, "a chunk for the second time")
            events = [*self._leave_chunk(), *self._enter_chunk(tag.chunk, None)]
        self._require(self._open.state is _State.CHUNK, "a tag outside a chunk")
        self._require(self._open.chunk == tag.chunk, "a tag of another chunk")
        self._open.tagged = True
        return [*events, BlockFound(tag, self.position)]

    def _options(self, data: memoryview) -> list[Event]:
        options = OptionsHeader.decode(data)
        self._require(self._open.tagged, "options that follow no tag")
        return [OptionsFound(options)]

    def _chunk_footer(self, data: memoryview) -> list[Event]:
        footer = ChunkFooter.decode(data)
        allowed = self._open.state is _State.CHUNK and self._framing() is Framing.FULL
        self._require(allowed, "a chunk footer in the wrong place")
        fits = footer.chunk == self._open.chunk and footer.archive == self._open.archive
        self._require(fits, "the footer of another chunk")
        return self._leave_chunk(footer)

    def _archive_footer(self, data: memoryview) -> list[Event]:
        footer = ArchiveFooter.decode(data)
        self._require(self._may_end(), "an archive footer in the wrong place")
        self._require(footer.archive == self._open.archive, "the footer of another archive")
        return self._leave_archive(footer)

    def _session_footer(self, data: memoryview) -> list[Event]:
        footer = SessionFooter.decode(data)
        session = self._open.session
        allowed = self._may_end() or self._open.state is _State.SESSION
        self._require(allowed, "a session footer in the wrong place")
        fits = session is not None and session.session == footer.session
        self._require(fits, "the footer of another session")
        self._require(footer.length == self.position, "a session of another length")
        events = self._leave_archive(None) if self._open.archive else []
        self._open.state = _State.END
        return [*events, SessionEnded(footer)]

    def _may_end(self) -> bool:
        """Whether an archive may end here: a chunk of FULL needs its own footer first."""
        state = self._open.state
        return state is _State.ARCHIVE or (
            state is _State.CHUNK and self._framing() is not Framing.FULL
        )

    def _enter_chunk(self, chunk: ChunkNumber, header: ChunkHeader | None) -> list[Event]:
        self._open.chunk = chunk
        self._open.state = _State.CHUNK
        self._open.tagged = False
        return [ChunkBegan(chunk, header)]

    def _leave_chunk(self, footer: ChunkFooter | None = None) -> list[Event]:
        chunk = self._open.chunk
        if chunk is None:
            return []
        self._open.chunk = None
        self._open.last_chunk = chunk
        self._open.tagged = False
        self._open.state = _State.ARCHIVE
        return [ChunkEnded(chunk, footer)]

    def _leave_archive(self, footer: ArchiveFooter | None) -> list[Event]:
        events: list[Event] = [*self._leave_chunk(), ArchiveEnded(self._open.archive, footer)]
        self._open.archive = b""
        self._open.state = _State.SESSION
        return events

    def _framing(self) -> Framing:
        if self._open.session is None:
            raise MalformedError(what=_WHAT, reason="no session header")
        return Framing(self._open.session.framing)

    @staticmethod
    def _require(condition: bool, otherwise: str) -> None:
        if not condition:
            raise MalformedError(what=_WHAT, reason=otherwise)
