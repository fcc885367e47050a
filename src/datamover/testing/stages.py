"""Small stages with known answers: what a pipe of them must deliver can be computed by hand.

Every buffer carries a number, and bytes that follow from it.  Heads count, middles change numbers
by a rule, and tails check the bytes and digest the numbers, so that ``expected`` (the same rules
as plain functions) says what any pipe of these stages must leave behind:

    count  ─▶  carry | copy | split | drop | flip | renew | sign, unsign  ─▶  gather

Source: SPEC A2-A4, A6, A25-A27, B2; docs/STYLE.md, "Tests".
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
import threading
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from datamover.errors import BufferTimeoutError
from datamover.pipe.definition import head, middle, tail
from datamover.pipe.stage import FanOut

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from datamover.pipe.ports import HeadPort, MiddlePort, Port, TailPort
    from datamover.shm.buffer import Buffer

__all__ = [
    "Carrying",
    "Counting",
    "Dropping",
    "Gathering",
    "Hoarding",
    "Noticing",
    "Splitting",
    "carry",
    "copy",
    "count",
    "digest",
    "drop",
    "expected",
    "flip",
    "gather",
    "hoard",
    "hoards",
    "let_go",
    "noticing",
    "patient",
    "read_number",
    "renew",
    "sign",
    "split",
    "unsign",
    "write_number",
]

_NUMBER: Final = struct.Struct("<QI")
_SEED: Final = 0x9E3779B1
_FLIPPED: Final = bytes(255 - byte for byte in range(256))
_SIGNATURE: Final = b"signed"
_HANGING: Final = threading.Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """Numbers 0 to ``count`` - 1, in buffers of ``size`` bytes and a few more.

    Attributes:
        count: How many; -1: without end.
        delay_s: Sleep at most this long before each, by ``seed``.
    """

    count: int = 100
    size: int = 24
    delay_s: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrying:
    """How a middle that changes no number behaves; instance ``only`` alone when it is not -1.

    Attributes:
        delay_s: Sleep at most this long for each buffer, by ``seed``.
        raise_at: Raise when this number comes.
        hang_at: Never come back when this number comes.
        die_at: End the process when this number comes.
    """

    delay_s: float = 0.0
    seed: int = 0
    only: int = -1
    raise_at: int = -1
    hang_at: int = -1
    die_at: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """Number n becomes n*parts ... n*parts + parts - 1, each in a buffer of its own."""

    parts: int = 2
    delay_s: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropping:
    """Numbers that ``every`` divides go no further.

    Attributes:
        linger_s: Sleep after the buffer was freed, before the next one is asked for.
    """

    every: int = 2
    linger_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hoarding:
    """How many buffers to keep: more than the share while none was given away is refused."""

    buffers: int = 1 << 20
    then_hang: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """How the tail takes what comes.

    Attributes:
        delay_s: Sleep so long for each buffer.
        hang_after: Never come back after so many; -1: always come back.
        keep: Buffers held back before the oldest is freed.
    """

    delay_s: float = 0.0
    hang_after: int = -1
    keep: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticing:
    """How many notices for each buffer, and how long their text."""

    notices: int = 1
    length: int = 1


def write_number(buffer: Buffer, number: int, size: int = 24) -> None:
    """Fill a buffer: the number, its length, and bytes that follow from it."""
    used = max(_NUMBER.size, size + number % 7)
    _NUMBER.pack_into(buffer.data, 0, number, used)
    buffer.data[_NUMBER.size : used] = _filling(number, used)
    buffer.used = used


def read_number(buffer: Buffer) -> int:
    """Return the number in a buffer; raise ValueError unless every byte is as it was written."""
    payload = bytes(buffer.payload)
    number, used = _NUMBER.unpack_from(payload)
    if used != len(payload) or payload[_NUMBER.size :] != _filling(number, used):
        raise ValueError(f"buffer {buffer.index} does not hold what number {number} had")
    return int(number)


def digest(numbers: Iterable[int]) -> str:
    """Return a short digest of numbers in their order."""
    found = hashlib.sha256()
    for number in numbers:
        found.update(number.to_bytes(8, "little"))
    return found.hexdigest()[:16]


def expected(numbers: Iterable[int], steps: Sequence[Splitting | Dropping]) -> list[int]:
    """Return what ``steps`` make of ``numbers``: the pipe as plain functions."""
    found = list(numbers)
    for step in steps:
        if isinstance(step, Splitting):
            found = [n * step.parts + i for n in found for i in range(step.parts)]
        else:
            found = [n for n in found if n % step.every]
    return found


@head
def count(port: HeadPort, settings: Counting) -> None:
    """Send the numbers; several instances stride them."""
    random = Random(settings.seed + port.instance)  # noqa: S311  a failure has to repeat
    numbers = itertools.count(port.instance, port.instances)
    for number in numbers:
        if 0 <= settings.count <= number:
            return
        _pause(random, settings.delay_s)
        buffer = port.alloc()
        write_number(buffer, number, settings.size)
        port.send(buffer, sequence=number)


@middle(replayable=True)
def carry(port: MiddlePort, settings: Carrying) -> None:
    """Pass each buffer on."""
    random = Random(settings.seed + port.instance)  # noqa: S311  a failure has to repeat
    for buffer in port.incoming():
        _meet(port, settings, buffer, random)
        port.send(buffer)


@middle(allocates=True, replayable=True)
def copy(port: MiddlePort, settings: Carrying) -> None:
    """Pass each buffer on in a fresh one."""
    random = Random(settings.seed + port.instance)  # noqa: S311  a failure has to repeat
    for buffer in port.incoming():
        _meet(port, settings, buffer, random)
        fresh = port.alloc()
        fresh.data[: buffer.used] = buffer.payload
        fresh.used = buffer.used
        port.free(buffer)
        port.send(fresh)


@middle(allocates=True, fan_out=FanOut.MANY)
def split(port: MiddlePort, settings: Splitting) -> None:
    """Send some buffers for each."""
    random = Random(settings.seed + port.instance)  # noqa: S311  a failure has to repeat
    for buffer in port.incoming():
        number = read_number(buffer)
        port.free(buffer)
        for part in range(settings.parts):
            _pause(random, settings.delay_s)
            fresh = port.alloc()
            write_number(fresh, number * settings.parts + part)
            port.send(fresh)


@middle(replayable=True, overwrites=True)
def flip(port: MiddlePort) -> None:
    """Turn every bit of each buffer; twice is as never."""
    for buffer in port.incoming():
        payload = buffer.payload
        payload[:] = bytes(payload).translate(_FLIPPED)
        port.send(buffer)


@middle(allocates=True, replayable=True)
def renew(port: MiddlePort) -> None:
    """Pass each buffer on in a fresh one, whatever it holds, with its tag."""
    for buffer in port.incoming():
        fresh = port.alloc()
        fresh.data[: buffer.used] = buffer.payload
        fresh.used = buffer.used
        fresh.adopt(buffer)
        port.free(buffer)
        port.send(fresh)


@middle(replayable=True)
def sign(port: MiddlePort) -> None:
    """Put a word behind each payload, and one into its tag area, as transforms do."""
    for buffer in port.incoming():
        used, size = buffer.used, len(_SIGNATURE)
        buffer.data[used : used + size] = _SIGNATURE
        buffer.tag[buffer.tag_used : buffer.tag_used + size] = _SIGNATURE
        buffer.used, buffer.tag_used = used + size, buffer.tag_used + size
        port.send(buffer)


@middle(replayable=True)
def unsign(port: MiddlePort) -> None:
    """Take away what one ``sign`` put there; raise ValueError unless it was exactly one."""
    for buffer in port.incoming():
        buffer.used -= len(_SIGNATURE)
        behind = bytes(buffer.data[buffer.used : buffer.used + len(_SIGNATURE)])
        if behind != _SIGNATURE or bytes(buffer.tag[: buffer.tag_used]) != _SIGNATURE:
            raise ValueError(f"buffer {buffer.index} was not signed once")
        buffer.tag_used = 0
        read_number(buffer)
        port.send(buffer)


@middle(replayable=True)
def drop(port: MiddlePort, settings: Dropping) -> None:
    """Free some and pass the others on."""
    for buffer in port.incoming():
        if read_number(buffer) % settings.every:
            port.send(buffer)
        else:
            port.free(buffer)
            time.sleep(settings.linger_s)


@middle(allocates=True)
def hoard(port: MiddlePort, settings: Hoarding) -> None:
    """Allocate and keep."""
    kept = [port.alloc() for _ in range(settings.buffers)]
    if settings.then_hang:
        _hang()
    for buffer in port.incoming():
        port.send(buffer)
    for buffer in kept:
        port.free(buffer)


@middle
def noticing(port: MiddlePort, settings: Noticing) -> None:
    """Tell the caller of each buffer, and pass it on."""
    for buffer in port.incoming():
        for _ in range(settings.notices):
            port.notice("seen", number=read_number(buffer), text="n" * settings.length)
        port.send(buffer)


@tail
def gather(port: TailPort, settings: Gathering) -> None:
    """Check every buffer; leave how many came, their digest, and whether they only grew."""
    numbers: list[int] = []
    kept: list[Buffer] = []
    for buffer in port.incoming():
        if len(numbers) == settings.hang_after:
            _hang()
        time.sleep(settings.delay_s)
        numbers.append(read_number(buffer))
        kept.append(buffer)
        if len(kept) > settings.keep:
            port.free(kept.pop(0))
    for buffer in kept:
        port.free(buffer)
    grew = all(a < b for a, b in itertools.pairwise(numbers))
    port.result(
        {"count": len(numbers), "digest": digest(numbers), "grew": grew, "sum": sum(numbers)}
    )


def let_go() -> None:
    """Let threads that hang go on: they cannot be killed."""
    _HANGING.set()
    _HANGING.clear()


def _filling(number: int, used: int) -> bytes:
    word = struct.pack("<Q", number * _SEED % (1 << 64))
    return (word * (used // len(word) + 1))[: used - _NUMBER.size]


@tail
def hoards(port: TailPort) -> None:
    """Keep everything until the end."""
    kept = list(port.incoming())
    for buffer in kept:
        port.free(buffer)


@tail
def patient(port: TailPort) -> None:
    """Keep everything, until for a while nothing came."""
    kept: list[Buffer] = []
    waits = 0
    while True:
        try:
            buffer = port.receive(timeout=0.2)
        except BufferTimeoutError:
            waits += 1
            while kept:
                port.free(kept.pop())
            continue
        if buffer is None:
            break
        kept.append(buffer)
    for buffer in kept:
        port.free(buffer)
    port.result({"waits": waits})


def _meet(port: Port, settings: Carrying, buffer: Buffer, random: Random) -> None:
    if settings.only not in {-1, port.instance}:
        return
    number = read_number(buffer)
    if number == settings.raise_at:
        raise ValueError(f"number {number} is not welcome")
    if number == settings.die_at:
        os._exit(66)
    if number == settings.hang_at:
        _hang()
    _pause(random, settings.delay_s)


def _pause(random: Random, longest: float) -> None:
    if longest:
        time.sleep(random.uniform(0, longest))


def _hang() -> None:
    _HANGING.wait()
