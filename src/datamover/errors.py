"""Every error the system raises on purpose.

DataMoverError
├── UsageError                      what was asked for makes no sense; nothing was done
│   ├── SpecError                   a pipe specification that cannot be built
│   └── RuleError                   a placement rule that makes no sense; names file and line
├── PipeError                       one pipe is in trouble; the others are not
│   ├── RoleError                   a head received, or a tail sent
│   ├── OwnershipError              a buffer was used after it was sent or freed, or all are hoarded
│   ├── BufferTimeoutError      (r) no buffer came in time
│   ├── QuotaError                  an instance asked for more buffers than its share
│   ├── RoomError                   what a stage must add does not fit its buffer
│   ├── SequenceError               a number was repeated, or can no longer arrive
│   ├── NoPipeError                 no pipe of that name runs here
│   ├── GuestError                  an attached program broke a rule, or was gone too early
│   ├── StopRequestedError          the monitor asked this task to end
│   ├── ForkServerError             the process that tasks are forked from ended, and they with it
│   ├── ControllerError             the process that leads a pipe for a monitor ended
│   └── StageFailedError            a stage ended abnormally; names stage, instance, sequence, cause
├── FormatError                     bytes do not mean what they claim to
│   ├── TruncatedError
│   ├── MagicError
│   ├── VersionError
│   ├── CorruptError                a checksum does not match
│   └── MalformedError              a field is out of range
├── PeerError                       another machine, or another process, as a partner in talk
│   ├── PeerUnreachableError    (r) no conversation came about
│   ├── PeerRefusedError            it said no, and why
│   ├── PeerLostError           (r) it was there, and is gone
│   ├── SlowPeerError           (r) it took longer than it may
│   ├── PeerProtocolError           what it said is not the protocol
│   ├── RunningError                another monitor serves this user already
│   └── DrainingError           (r) it takes no new pipes, for it is about to end
├── SecurityError                   a key, a passphrase or a seal does not fit
│   ├── PassphraseError
│   ├── SealError                   an authentication tag does not match
│   ├── UnsafeFileError             a secret lies where others can read or change it
│   ├── NotEnrolledError            this machine is in no fleet
│   ├── DistrustError               a machine did not prove who it is, or did not believe us
│   ├── EnrolmentError              a machine does not become, or stay, a member
│   │   ├── TokenError              the token is no token, or is good no more
│   │   └── NameTakenError          another machine has the name
│   └── NotAllowedError             a peer may not do this here
│       └── PathEscapeError         a path leads out of where it may be
├── SourceError                     a source file cannot be read as it was found
├── RestoreError                    a destination refuses what is to be restored
├── StoreError                      a store or its catalog
│   ├── NotAStoreError
│   ├── StoreExistsError
│   ├── ArchiveMissingError
│   ├── ArchiveBusyError            another process writes it
│   ├── CatalogError                the catalog cannot be used; the chunks can make a new one
│   ├── VolumeMissingError          a cartridge or disc must be put in
│   └── DamagedError                something stored is damaged; says what
└── MediaError                      a place where chunks rest refused
    ├── ChunkMissingError
    ├── MediumFullError
    ├── MediumRefusedError          it is there, and does not let us in
    └── MediumUnreachableError  (r) it does not answer

(r) marks the errors worth retrying.  Three questions decide a new class: would a caller
*do* something different, would an operator, or would a test?  If not, reuse one.

Errors cross process boundaries as plain facts (``facts``), never as pickles.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from datamover.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ArchiveBusyError",
    "ArchiveMissingError",
    "BufferTimeoutError",
    "CatalogError",
    "ChunkMissingError",
    "ControllerError",
    "CorruptError",
    "DamagedError",
    "DataMoverError",
    "DistrustError",
    "DrainingError",
    "EnrolmentError",
    "ForkServerError",
    "FormatError",
    "GuestError",
    "MagicError",
    "MalformedError",
    "MediaError",
    "MediumFullError",
    "MediumRefusedError",
    "MediumUnreachableError",
    "NameTakenError",
    "NoPipeError",
    "NotAStoreError",
    "NotAllowedError",
    "NotEnrolledError",
    "OwnershipError",
    "PassphraseError",
    "PathEscapeError",
    "PeerError",
    "PeerLostError",
    "PeerProtocolError",
    "PeerRefusedError",
    "PeerUnreachableError",
    "PipeError",
    "QuotaError",
    "RestoreError",
    "RoleError",
    "RoomError",
    "RuleError",
    "RunningError",
    "SealError",
    "SecurityError",
    "SequenceError",
    "SlowPeerError",
    "SourceError",
    "SpecError",
    "StageFailedError",
    "StopRequestedError",
    "StoreError",
    "StoreExistsError",
    "TokenError",
    "TruncatedError",
    "UnsafeFileError",
    "UsageError",
    "VersionError",
    "VolumeMissingError",
    "facts",
    "is_retryable",
    "revive",
]

Fact = str | int | float | bool | None


@dataclass(eq=False, kw_only=True)
class DataMoverError(Exception):
    """Root of the tree: catch it at a process boundary, never in between.

    Subclasses carry *facts* in typed fields and say them in ``__str__``; they cross process
    boundaries, so the facts are plain.  ``code`` is stable for scripts and is listed in
    docs/reference/errors.md.
    """

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 70
    retryable: ClassVar[bool] = False
    hint: ClassVar[str] = ""

    def __str__(self) -> str:
        return ", ".join(f"{f.name}: {getattr(self, f.name)}" for f in fields(self)) or self.code

    def __reduce__(self) -> tuple[object, ...]:
        return _revive, (type(self), {f.name: getattr(self, f.name) for f in fields(self)})


def _revive(kind: type[DataMoverError], given: dict[str, Fact]) -> DataMoverError:
    return kind(**given)


@dataclass(eq=False, kw_only=True)
class UsageError(DataMoverError):
    """What was asked for makes no sense; nothing was done."""

    code = "usage"
    exit_status = 64
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False, kw_only=True)
class SpecError(UsageError):
    """A pipe specification that cannot be built; nothing was started."""

    code = "usage.spec"


@dataclass(eq=False, kw_only=True)
class RuleError(UsageError):
    """A placement rule that makes no sense, or that cannot be followed; nothing was done."""

    code = "usage.rule"
    hint = "docs/spec/placement.md says what a rule file holds"
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class PipeError(DataMoverError):
    """One pipe is in trouble; the others are not."""

    code = "pipe"


@dataclass(eq=False, kw_only=True)
class RoleError(PipeError):
    """A verb that this place in the pipe does not have: a head received, or a tail sent."""

    code = "pipe.role"
    hint = "a head allocates and sends, a tail receives and frees; only a middle does all four"
    stage: str
    role: str
    verb: str

    def __str__(self) -> str:
        return f"stage {self.stage} is a {self.role}, which never calls {self.verb}"


@dataclass(eq=False, kw_only=True)
class OwnershipError(PipeError):
    """A buffer was touched by a task that does not own it."""

    code = "pipe.ownership"
    reason: str
    index: int = -1

    def __str__(self) -> str:
        return f"buffer {self.index}: {self.reason}" if self.index >= 0 else self.reason


@dataclass(eq=False, kw_only=True)
class GuestError(PipeError):
    """A program that was attached to a pipe broke a rule, or was gone before it was done."""

    code = "pipe.guest"
    hint = "docs/spec/attach-abi.md says what a guest must do"
    reason: str

    def __str__(self) -> str:
        return f"the attached program: {self.reason}"


@dataclass(eq=False, kw_only=True)
class BufferTimeoutError(PipeError):
    """No buffer came in time; nothing was taken."""

    code = "pipe.timeout"
    retryable = True
    waited_s: float

    def __str__(self) -> str:
        return f"no buffer came within {self.waited_s:g} s"


@dataclass(eq=False, kw_only=True)
class QuotaError(PipeError):
    """An instance asked for more buffers than its share, and the policy is to end it."""

    code = "pipe.quota"
    hint = "send or free buffers sooner, raise `buffers`, or use the policy `wait`"
    stage: str
    instance: int
    quota: int

    def __str__(self) -> str:
        return (
            f"stage {self.stage}, instance {self.instance}: "
            f"all {self.quota} buffers of its share are in use"
        )


@dataclass(eq=False, kw_only=True)
class RoomError(PipeError):
    """What a stage must add to a block does not fit its buffer; the block was not changed."""

    code = "pipe.room"
    hint = "use fewer transforms, or let the head fill its buffers less"
    what: str
    need: int
    have: int

    def __str__(self) -> str:
        return f"{self.what}: needs {self.need} bytes, its buffer has {self.have}"


@dataclass(eq=False, kw_only=True)
class SequenceError(PipeError):
    """A number was repeated, or can no longer arrive."""

    code = "pipe.sequence"
    sequence: int
    reason: str

    def __str__(self) -> str:
        return f"sequence {self.sequence}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class NoPipeError(PipeError):
    """No pipe of that name runs here."""

    code = "pipe.missing"
    exit_status = 66
    hint = "`datamover status` lists what runs"
    pipe: str

    def __str__(self) -> str:
        return f"no pipe is called {self.pipe}"


@dataclass(eq=False, kw_only=True)
class StopRequestedError(PipeError):
    """The monitor asked this task to end while it worked or waited; nothing was taken."""

    code = "pipe.stopped"
    exit_status = 75
    reason: str = "the pipe was stopped"

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False, kw_only=True)
class StageFailedError(PipeError):
    """A stage ended abnormally and its pipe was stopped.

    Attributes:
        stage: The stage's name in the pipe.
        instance: Its instance, from 0.
        sequence: The number it was working on; -1 when it held none.
        cause: What happened, in one line.
        cause_code: ``code`` of the error behind it; "signal", "exit" or "exception" otherwise.
        machine: Where it ran; empty: here.
    """

    code = "pipe.stage-failed"
    stage: str
    instance: int
    sequence: int
    cause: str
    cause_code: str = "exception"
    cause_status: int = 70
    cause_hint: str = ""
    machine: str = ""

    @property
    def exit_code(self) -> int:
        """The exit status of the cause, where there is one."""
        return self.cause_status

    def __str__(self) -> str:
        at = f", sequence {self.sequence}" if self.sequence >= 0 else ""
        where = f" on {self.machine}" if self.machine else ""
        return f"stage {self.stage}{where}, instance {self.instance}{at}: {self.cause}"


@dataclass(eq=False, kw_only=True)
class ForkServerError(PipeError):
    """The process that tasks are forked from ended, and every task of it; the pipe was stopped.

    Attributes:
        status: Its exit status, or minus the signal that killed it.
        machine: Where it ran; empty: here.
    """

    code = "pipe.fork-server"
    exit_status = 71
    hint = "run it again; the system log says whether memory ran out or somebody killed it"
    status: int
    machine: str = ""

    def __str__(self) -> str:
        how = f"was killed by signal {-self.status}"
        if self.status >= 0:
            how = f"exited with status {self.status}"
        where = f" on {self.machine}" if self.machine else ""
        return f"the fork server{where} {how}, and every task of the pipe with it"


@dataclass(eq=False, kw_only=True)
class ControllerError(PipeError):
    """The process that leads a pipe for the monitor ended, and the pipe with it.

    Attributes:
        status: Its exit status, or minus the signal that killed it.
    """

    code = "pipe.controller"
    exit_status = 71
    hint = "the monitor's log, or the system's, says why"
    status: int

    def __str__(self) -> str:
        how = f"was killed by signal {-self.status}"
        if self.status >= 0:
            how = f"exited with status {self.status}"
        return f"the controller of the pipe {how}, and every task of the pipe was stopped"


class FormatError(DataMoverError):
    """Bytes do not mean what they claim to; the data is suspect, the program is not."""

    code = "format"
    exit_status = 65


@dataclass(eq=False, kw_only=True)
class TruncatedError(FormatError):
    """Fewer bytes than the layout needs."""

    code = "format.truncated"
    what: str
    need: Bytes
    have: Bytes

    def __str__(self) -> str:
        return f"{self.what}: {self.have} bytes, {self.need} needed"


@dataclass(eq=False, kw_only=True)
class MagicError(FormatError):
    """Not the record that was looked for."""

    code = "format.magic"
    what: str
    found: str

    def __str__(self) -> str:
        return f"{self.what}: begins with {self.found}"


@dataclass(eq=False, kw_only=True)
class VersionError(FormatError):
    """Written by a newer release."""

    code = "format.version"
    hint = "read it with a newer release of datamover"
    what: str
    found: int
    newest: int

    def __str__(self) -> str:
        return f"{self.what}: version {self.found}, this release reads up to {self.newest}"


@dataclass(eq=False, kw_only=True)
class CorruptError(FormatError):
    """The bytes do not match their checksum."""

    code = "format.corrupt"
    hint = "run `datamover verify` on the store to see what is affected"
    what: str
    expected: int
    actual: int

    def __str__(self) -> str:
        return f"{self.what}: CRC-32C is {self.actual:#010x}, expected {self.expected:#010x}"


@dataclass(eq=False, kw_only=True)
class MalformedError(FormatError):
    """A field is out of range: the bytes are intact but mean nothing."""

    code = "format.malformed"
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class PeerError(DataMoverError):
    """Another machine, or another process of this one, does not do as it was asked.

    Attributes:
        peer: Who it is, as a person wrote it.
    """

    code = "peer"
    exit_status = 69
    peer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.peer}: {self.reason}"


class PeerUnreachableError(PeerError):
    """No conversation came about; nothing was done there."""

    code = "peer.unreachable"
    retryable = True
    hint = "see that the name is right, and that `datamover --version` works there"


@dataclass(eq=False, kw_only=True)
class PeerRefusedError(PeerError):
    """The peer said no.

    Attributes:
        reason: What it said.
        cause_code: ``code`` of the error at the peer.
    """

    code = "peer.refused"
    cause_code: str = ""
    cause_status: int = 70
    cause_hint: str = ""


class PeerLostError(PeerError):
    """The peer was there and is gone: what it ran for us is stopped, or will be."""

    code = "peer.lost"
    exit_status = 75
    retryable = True
    hint = "run the same command again"


class SlowPeerError(PeerError):
    """The peer took longer than it may; it was given up."""

    code = "peer.slow"
    retryable = True


class PeerProtocolError(PeerError):
    """What the peer said is not the protocol; the conversation was ended."""

    code = "peer.protocol"
    exit_status = 76
    hint = (
        "see that both machines have a release that knows the other's, and print nothing at login"
    )


class RunningError(PeerError):
    """Another monitor serves this user on this machine already; this one did nothing."""

    code = "peer.running"
    hint = "`datamover status` shows what it runs; end it before another is started"


class DrainingError(PeerError):
    """It takes no new pipes, for it is about to end; what runs may finish."""

    code = "peer.draining"
    exit_status = 75
    retryable = True
    hint = "run the same command again when it is back"


class SecurityError(DataMoverError):
    """A key, a passphrase or a seal does not fit."""

    code = "security"
    exit_status = 77


@dataclass(eq=False, kw_only=True)
class PassphraseError(SecurityError):
    """The passphrase does not open the store, or there is none."""

    code = "security.passphrase"
    hint = "set DATAMOVER_PASSPHRASE, or give --passphrase-file"
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False, kw_only=True)
class SealError(SecurityError):
    """An authentication tag does not match: the bytes were changed, or the key is another's."""

    code = "security.seal"
    exit_status = 65
    what: str

    def __str__(self) -> str:
        return f"{self.what}: the seal does not match"


@dataclass(eq=False, kw_only=True)
class UnsafeFileError(SecurityError):
    """A file or folder with secrets is open to others, or is not what it must be."""

    code = "security.unsafe-file"
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class NotEnrolledError(SecurityError):
    """This machine has no part in a fleet, or not the part that is needed."""

    code = "security.not-enrolled"
    hint = "run `datamover fleet init` on one machine, and `datamover fleet join` on the others"
    folder: str
    reason: str

    def __str__(self) -> str:
        return f"{self.folder}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class DistrustError(SecurityError):
    """A machine did not prove who it is, or did not believe who we are."""

    code = "security.distrust"
    hint = "`datamover fleet list` on the authority shows who is a member, and until when"
    peer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.peer}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class EnrolmentError(SecurityError):
    """A machine does not become, or does not stay, a member; nothing was changed."""

    code = "security.enrolment"
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False, kw_only=True)
class TokenError(EnrolmentError):
    """A token that is none, or is good no more."""

    code = "security.token"
    hint = "run `datamover fleet invite` on the authority's machine for a new one"


@dataclass(eq=False, kw_only=True)
class NameTakenError(EnrolmentError):
    """Another machine of the fleet has this name; the invitation stays good."""

    code = "security.name-taken"
    hint = "join with another --name, or revoke the machine that has it"


@dataclass(eq=False, kw_only=True)
class NotAllowedError(SecurityError):
    """A peer may not do this on this machine."""

    code = "security.not-allowed"
    hint = "what a peer may do is written in peers.toml on the machine that refuses"
    machine: str
    action: str
    place: str = ""

    def __str__(self) -> str:
        at = f" {self.place}" if self.place else ""
        return f"{self.machine} may not {self.action}{at}"


@dataclass(eq=False, kw_only=True)
class PathEscapeError(NotAllowedError):
    """A path leads out of the folder it may be in."""

    code = "security.path-escape"
    reason: str

    def __str__(self) -> str:
        return f"{self.machine} may not {self.action} {self.place}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class SourceError(DataMoverError):
    """A source cannot be read as it was found."""

    code = "source"
    exit_status = 66
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class RestoreError(DataMoverError):
    """A destination refuses what is to be restored."""

    code = "restore"
    exit_status = 73
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class StoreError(DataMoverError):
    """A store or its catalog refuses."""

    code = "store"
    exit_status = 74
    store: str
    reason: str

    def __str__(self) -> str:
        return f"{self.store}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class NotAStoreError(StoreError):
    """There is no store here."""

    code = "store.missing"
    exit_status = 66
    hint = "make one with `datamover init STORE`"


@dataclass(eq=False, kw_only=True)
class StoreExistsError(StoreError):
    """There is already something here; nothing was changed."""

    code = "store.exists"
    exit_status = 73
    hint = "choose an empty folder, or a new name"


@dataclass(eq=False, kw_only=True)
class ArchiveMissingError(StoreError):
    """No archive, or no path in it, matches."""

    code = "store.archive-missing"
    exit_status = 66
    hint = "`datamover archives STORE` lists what is there"


@dataclass(eq=False, kw_only=True)
class ArchiveBusyError(StoreError):
    """Another process writes the archive, or one that is gone was not missed yet."""

    code = "store.archive-busy"
    exit_status = 75
    hint = "run the same command again in a minute"


@dataclass(eq=False, kw_only=True)
class CatalogError(StoreError):
    """The catalog is missing, damaged or another store's; the chunk files are not touched."""

    code = "store.catalog"
    hint = "run `datamover catalog rebuild STORE`, which makes it again from the chunk files"


@dataclass(eq=False, kw_only=True)
class DamagedError(StoreError):
    """Something stored is damaged; everything else was done."""

    code = "store.damaged"
    exit_status = 65


@dataclass(eq=False, kw_only=True)
class VolumeMissingError(StoreError):
    """A chunk lies on a volume that is not here, wholly or in part.

    Attributes:
        chunk: The chunk.
        volume: The number of the volume, as its label has it.
        reason: Made from the two.
    """

    code = "store.volume-missing"
    hint = "put the volume in, then run the same command again"
    reason: str = ""
    chunk: str
    volume: int

    def __str__(self) -> str:
        return f"{self.store}: volume {self.volume} is not here, and chunk {self.chunk} needs it"


class MediaError(DataMoverError):
    """A place where chunks rest refused."""

    code = "media"
    exit_status = 74


@dataclass(eq=False, kw_only=True)
class ChunkMissingError(MediaError):
    """The chunk is not here."""

    code = "media.chunk-missing"
    exit_status = 66
    chunk: str

    def __str__(self) -> str:
        return f"chunk {self.chunk} is not on this medium"


@dataclass(eq=False, kw_only=True)
class MediumFullError(MediaError):
    """No room; nothing of the open chunk was kept."""

    code = "media.full"
    hint = "free some space and run the same command again; complete archives are untouched"
    where: str

    def __str__(self) -> str:
        return f"{self.where}: no space left"


@dataclass(eq=False, kw_only=True)
class MediumRefusedError(MediaError):
    """The place is there, and does not let us in; nothing of the open chunk was kept."""

    code = "media.refused"
    exit_status = 77
    hint = (
        "check the medium's address; for an object store also AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY and this machine's clock"
    )
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class MediumUnreachableError(MediaError):
    """The place did not answer, however often it was asked; nothing of the open chunk was kept."""

    code = "media.unreachable"
    exit_status = 69
    retryable = True
    hint = "check the medium's address and the network, then run the same command again"
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def facts(error: DataMoverError) -> dict[str, Fact]:
    """Return the error as plain values for a message: ``code`` and one entry a field."""
    return {"code": error.code} | {f.name: getattr(error, f.name) for f in fields(error)}


def revive(given: Mapping[str, object]) -> DataMoverError:
    """Rebuild an error from ``facts``; an unknown code or field becomes a plain UsageError.

    The message comes from another process, so it is never trusted to name a class.
    """
    kind = _KINDS.get(str(given.get("code")))
    values = {k: v for k, v in given.items() if k != "code"}
    if kind is None or not set(values) <= {f.name for f in fields(kind)}:
        return UsageError(reason=f"unknown error: {given!r:.200}")
    try:
        return kind(**values)
    except TypeError:
        return UsageError(reason=f"incomplete error: {given!r:.200}")


def is_retryable(code: str) -> bool:
    """Whether errors of this code are worth trying again; an unknown code is not."""
    kind = _KINDS.get(code)
    return kind is not None and kind.retryable


def _tree(kind: type[DataMoverError]) -> dict[str, type[DataMoverError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found |= _tree(child)
    return found


_KINDS = _tree(DataMoverError)
