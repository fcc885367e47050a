"""A key, a passphrase, a seal or a right does not fit."""

from __future__ import annotations

from dataclasses import dataclass

from datamover.errors.base import DataMoverError

__all__ = [
    "DistrustError",
    "EnrolmentError",
    "NameTakenError",
    "NotAllowedError",
    "NotEnrolledError",
    "PassphraseError",
    "PathEscapeError",
    "SealError",
    "SecurityError",
    "TokenError",
    "UnsafeFileError",
]


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
