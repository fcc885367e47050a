"""What the authority remembers: machines and invitations, in one file behind one lock.

Source: docs/spec/trust.md, section 4.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from datamover.errors import EnrolmentError, MalformedError, VersionError
from datamover.link.durable import PRIVATE, read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Certified", "Invitation", "Machine", "State", "changing", "read_state", "write_state"]

_FORMAT: Final = "datamover authority"
_VERSION: Final = 1
_MOST: Final = 64 * 1024 * 1024
_NAME: Final = "state.json"
_LOCK_WAIT_S: Final = 10.0
_LOCK_STEP_S: Final = 0.01

_Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
_Seconds = Annotated[int, msgspec.Meta(ge=0)]


class Certified(msgspec.Struct, kw_only=True):
    """One certificate that has not run out."""

    serial: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{1,40}$")]
    ends_s: _Seconds


class Machine(msgspec.Struct, kw_only=True):
    """A machine that joined.

    Attributes:
        revoked_s: When it was shut out; 0 while it is a member.
    """

    name: str
    id: _Hex32
    joined_s: _Seconds
    revoked_s: _Seconds = 0
    certificates: list[Certified]


class Invitation(msgspec.Struct, kw_only=True):
    """The right to join once.

    Attributes:
        verifier: Public half of the token's secret.
        name: The only name it is for; empty when the machine may choose.
        allow: What the machine may do on the authority's machine (``permissions``).
        used_s: When it was used; 0 while it is good.
        machine: Id of the machine that it made.
        key: Digest of the key that it was used for.
        certificate: What it gave, DER.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$")]
    verifier: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    name: str = ""
    made_s: _Seconds
    ends_s: _Seconds
    allow: list[str] = []
    used_s: _Seconds = 0
    machine: str = ""
    key: str = ""
    certificate: bytes = b""


class State(msgspec.Struct, kw_only=True):
    """The whole file."""

    format: str = _FORMAT
    version: int = _VERSION
    fleet: _Hex32
    list_number: Annotated[int, msgspec.Meta(ge=1)] = 1
    machines: list[Machine] = []
    invitations: list[Invitation] = []

    def member(self, name: str) -> Machine | None:
        """Return the machine that has this name and was not revoked."""
        return next((m for m in self.machines if m.name == name and not m.revoked_s), None)

    def invitation(self, of: str) -> Invitation | None:
        """Return the invitation of this id."""
        return next((i for i in self.invitations if i.id == of), None)


class _Version(msgspec.Struct):
    format: str
    version: int


def read_state(folder: Path) -> State:
    """Read the state; it may be old by the time it is looked at.

    Raises:
        UnsafeFileError: Others can read it.
        VersionError: A newer release wrote it.
        MalformedError: It is damaged.
        OSError: It cannot be read.
    """
    data = read_file(folder / _NAME, most=_MOST, secret=True)
    what = str(folder / _NAME)
    try:
        seen = msgspec.json.decode(data, type=_Version)
        if seen.format == _FORMAT and seen.version > _VERSION:
            raise VersionError(what=what, found=seen.version, newest=_VERSION)
        state = msgspec.json.decode(data, type=State)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(what=what, reason=str(error)) from None
    if state.format != _FORMAT:
        raise MalformedError(what=what, reason="is not the state of an authority")
    return state


def write_state(folder: Path, state: State) -> None:
    """Write the state; durable when this returns.

    Raises:
        OSError: The system refuses; the old state is as it was.
    """
    replace_file(
        folder / _NAME, msgspec.json.format(msgspec.json.encode(state)) + b"\n", mode=PRIVATE
    )


@contextmanager
def changing(folder: Path) -> Iterator[State]:
    """Give the state to change, to one at a time; it is durable when the block ends well.

    A block that raises changes nothing.

    Raises:
        EnrolmentError: Another process holds the lock.
        MalformedError: The state is damaged.
        OSError: The system refuses.

    Blocking: until others are done, at most 10 s.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    try:
        _wait_lock(lock)
        state = read_state(folder)
        yield state
        write_state(folder, state)
    finally:
        os.close(lock)  # and with it goes the lock, as it would with the process


def _wait_lock(lock: int) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise EnrolmentError(reason="another process holds the authority's lock") from None
            time.sleep(_LOCK_STEP_S)
        else:
            return
