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
from typing import ClassVar

__all__ = [
    "DataMoverError",
    "Fact",
    "RuleError",
    "SpecError",
    "UsageError",
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
