"""``datamover attach PIPE --head|--tail``: be the head or the tail of a pipe that runs."""

import os
import subprocess
from typing import Annotated

from cyclopts import Parameter

from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.secret import take_from_environment
from datamover.errors import GuestError, SourceError, StoreError, UsageError
from datamover.link.gate import attach_door
from datamover.link.guest import Guest
from datamover.link.places import runtime_folder
from datamover.wire.attach import GuestPlace

__all__ = ["attach"]

_TOKEN_SIZE = 16


def attach(
    pipe: Annotated[str, Parameter(name="PIPE")],
    /,
    *,
    head: bool = False,
    tail: bool = False,
    token: str = "",
    run: str = "",
    everywhere: Everywhere = DEFAULTS,
) -> int:
    """Feed a pipe that runs from standard input, or take what comes out of it.

    Args:
        pipe: What its stage `from_guest` or `to_guest` calls it.
        head: Be where data enters: standard input, until its end.
        tail: Be where data leaves: standard output.
        token: The 32 hexadecimal digits that the pipe asks for.
        run: A shell command that is the guest, with the descriptors of docs/spec/attach-abi.md.
        everywhere: The options that every command takes.
    """
    del everywhere
    take_from_environment()  # a command that is run inherits the environment
    if head == tail:
        raise UsageError(reason="a program is attached either as --head or as --tail")
    place = GuestPlace.HEAD if head else GuestPlace.TAIL
    with Guest.of(attach_door(runtime_folder(), pipe, place), place, _secret(token)) as guest:
        if run:
            return _run(guest, run)
        if head:
            _feed(guest)
        else:
            _take(guest)
    return 0


def _feed(guest: Guest) -> None:
    for index, _ in guest.receive():
        with guest.data(index) as data:
            used = _filled(data)
        if used:
            guest.give(index, used)
        if used < guest.terms.buffer_size:
            guest.end()
            guest.wait_taken()
            return


def _filled(data: memoryview) -> int:
    done = 0
    try:
        while done < len(data) and (more := os.readv(0, [data[done:]])):
            done += more
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise SourceError(path="standard input", reason=reason) from error
    return done


def _take(guest: Guest) -> None:
    for index, used in guest.receive():
        with guest.data(index) as data:
            done = 0
            try:
                while done < used:
                    done += os.write(1, data[done:used])
            except OSError as error:
                reason = error.strerror or "cannot be written"
                raise StoreError(store="standard output", reason=reason) from error
        guest.give(index)


def _run(guest: Guest, command: str) -> int:
    """Let a shell command be the guest; return its status."""
    terms = guest.terms
    given = {
        "SEGMENT": guest.segment,
        "INBOX": guest.inbox,
        "OUTBOX": guest.outbox,
        "SOCKET": guest.socket,
        "BUFFERS": terms.buffers,
        "BUFFER_SIZE": terms.buffer_size,
        "STRIDE": terms.stride,
        "DATA": terms.data,
    }
    status = subprocess.run(  # noqa: S602 - the user's own command
        command,
        shell=True,
        check=False,
        pass_fds=[guest.segment, guest.inbox, guest.outbox, guest.socket],
        env={**os.environ, **{f"DATAMOVER_{name}": str(value) for name, value in given.items()}},
    ).returncode
    if status < 0:
        raise GuestError(reason=f"killed by signal {-status}")
    return status


def _secret(text: str) -> bytes:
    try:
        token = bytes.fromhex(text) if text else bytes(_TOKEN_SIZE)
    except ValueError:
        token = b""
    if len(token) != _TOKEN_SIZE:
        raise UsageError(reason=f"token: not {2 * _TOKEN_SIZE} hexadecimal digits")
    return token
