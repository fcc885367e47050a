"""Bytes that do not mean what they claim to."""

from __future__ import annotations

from dataclasses import dataclass

from datamover.errors.base import DataMoverError
from datamover.units import Bytes

__all__ = [
    "CorruptError",
    "FormatError",
    "MagicError",
    "MalformedError",
    "TruncatedError",
    "VersionError",
]


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
