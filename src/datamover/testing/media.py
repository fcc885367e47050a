"""What every medium must do, as tests; and a medium that fails on cue.

Source: docs/spec/media-format.md; SPEC F13.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final, Self

import pytest

from datamover.errors import (
    ChunkMissingError,
    MediumFullError,
    StoreError,
    UsageError,
    VolumeMissingError,
)
from datamover.media.opening import open_medium
from datamover.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datamover.media.medium import Medium, Reader, Traits, Writer

__all__ = ["FailingMedium", "MediumSuite", "read_chunk", "store_chunk"]

A, B = "00-0000000a.dmc", "00-0000000b.dmc"

_KILLED_WRITER: Final = """
import os, signal, sys
from datamover.media.opening import open_medium
writer = open_medium(sys.argv[1]).create(sys.argv[2])
for _ in range(int(sys.argv[3])):
    writer.write([b"half" * 65536])
os.kill(os.getpid(), signal.SIGKILL)
"""
_PATIENCE_S: Final = 50


def store_chunk(medium: Medium, name: str, payload: bytes) -> None:
    """Store a chunk in two writes."""
    writer = medium.create(name)
    half = len(payload) // 2
    try:
        writer.write([memoryview(payload[:half])])
        writer.write([memoryview(payload[half:]), b""])
        writer.commit()
    finally:
        writer.abandon()


def read_chunk(medium: Medium, name: str) -> bytes:
    """Return all bytes of a chunk."""
    with medium.open(name) as reader:
        into = bytearray(reader.size)
        assert reader.read_into([memoryview(into)], 0) == reader.size
    return bytes(into)


class MediumSuite:
    """Subclass, and override ``address``: where an empty medium is, the same all through a test.

    ``small``, where it can be had, is the address of one that has no room for 4 MiB.
    """

    @pytest.fixture
    def address(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def small(self) -> str:
        pytest.skip("a medium of this kind cannot be made small here")

    @pytest.fixture
    def medium(self, address: str) -> Iterator[Medium]:
        with open_medium(address) as medium:
            yield medium

    def test_what_was_stored_is_what_is_read(self, medium: Medium) -> None:
        store_chunk(medium, A, b"payload")

        assert read_chunk(medium, A) == b"payload"

    def test_a_chunk_may_be_empty(self, medium: Medium) -> None:
        store_chunk(medium, A, b"")

        assert read_chunk(medium, A) == b""

    def test_views_are_filled_in_order_from_any_offset(self, medium: Medium) -> None:
        store_chunk(medium, A, bytes(range(100)))
        first, second = bytearray(3), bytearray(4)
        with medium.open(A) as reader:
            done = reader.read_into([memoryview(first), memoryview(second)], 50)

        assert (done, bytes(first), bytes(second)) == (7, b"234", b"5678")

    def test_a_read_beyond_the_end_is_short(self, medium: Medium) -> None:
        store_chunk(medium, A, b"payload")
        first, second = bytearray(4), bytearray(8)
        with medium.open(A) as reader:
            assert reader.read_into([memoryview(first), memoryview(second)], 2) == 5
            assert reader.read_into([memoryview(first)], 7) == 0
            assert reader.read_into([memoryview(first)], 1000) == 0

        assert bytes(first + second[:1]) == b"yload"

    def test_bytes_are_not_kept_by_reference(self, medium: Medium) -> None:
        buffer = bytearray(b"before")
        writer = medium.create(A)
        writer.write([memoryview(buffer)])
        buffer[:] = b"after!"
        writer.commit()

        assert read_chunk(medium, A) == b"before"

    def test_a_chunk_is_there_when_it_is_committed_and_not_before(self, medium: Medium) -> None:
        writer = medium.create(A)
        writer.write([b"half"])

        assert list(medium.names()) == []
        with pytest.raises(ChunkMissingError):
            medium.open(A)
        writer.commit()
        assert list(medium.names()) == [A]

    def test_an_abandoned_chunk_leaves_nothing(self, medium: Medium) -> None:
        writer = medium.create(A)
        writer.write([b"half"])
        writer.abandon()
        writer.abandon()

        assert list(medium.names()) == []
        assert medium.clean() == []

    def test_abandoning_what_is_committed_changes_nothing(self, medium: Medium) -> None:
        writer = medium.create(A)
        writer.write([b"whole"])
        writer.commit()
        writer.abandon()

        assert read_chunk(medium, A) == b"whole"

    def test_a_name_is_never_used_twice(self, medium: Medium) -> None:
        store_chunk(medium, A, b"first")
        with pytest.raises(StoreError):
            medium.create(A)

        assert read_chunk(medium, A) == b"first"

    def test_names_are_sorted(self, medium: Medium) -> None:
        store_chunk(medium, B, b"b")
        store_chunk(medium, A, b"a")

        assert list(medium.names()) == [A, B]

    def test_what_is_forgotten_is_gone_and_may_be_forgotten_again(self, medium: Medium) -> None:
        store_chunk(medium, A, b"a")
        medium.forget(A)
        medium.forget(A)

        assert list(medium.names()) == []

    def test_two_chunks_can_be_written_at_once(self, medium: Medium) -> None:
        one, two = medium.create(A), medium.create(B)
        one.write([b"1"])
        two.write([b"2"])
        two.commit()
        one.commit()

        assert (read_chunk(medium, A), read_chunk(medium, B)) == (b"1", b"2")

    def test_cleaning_spares_a_living_writer(self, medium: Medium) -> None:
        writer = medium.create(A)
        writer.write([b"alive"])

        assert medium.clean() == []
        writer.commit()
        assert read_chunk(medium, A) == b"alive"

    def test_a_long_chunk_of_many_writes_comes_back_whole(self, medium: Medium) -> None:
        payload = os.urandom(5 * MIB + 12345)
        writer = medium.create(A)
        at = 0
        for size in (1, 0, 4095, 300 * KIB, 2 * MIB, 7, len(payload)):
            writer.write([payload[at : at + size], b"", memoryview(payload)[at + size :][:9]])
            at += size + 9
        writer.commit()

        assert writer.length == len(payload)
        assert read_chunk(medium, A) == payload

    def test_a_long_chunk_is_read_from_anywhere(self, medium: Medium) -> None:
        payload = os.urandom(3 * MIB + 77)
        store_chunk(medium, A, payload)
        offsets = [0, 3 * MIB, 70, MIB - 1, len(payload) - 5, 2 * MIB + 9, 4096, 8192, 12288]
        with medium.open(A) as reader:
            for at in offsets:
                one, two = bytearray(48), bytearray(4048)
                done = reader.read_into([memoryview(one), memoryview(two)], at)

                assert bytes(one + two)[:done] == payload[at : at + 4096], at

    def test_a_second_object_sees_what_the_first_committed(
        self, medium: Medium, address: str
    ) -> None:
        store_chunk(medium, A, b"payload")
        medium.close()
        with open_medium(address) as other:
            assert list(other.names()) == [A]
            assert read_chunk(other, A) == b"payload"
            with pytest.raises(StoreError):
                other.create(A)

    @pytest.mark.parametrize("writes", [1, 40])
    def test_a_killed_writer_leaves_nothing_that_is_seen(self, address: str, writes: int) -> None:
        ended = subprocess.run(  # noqa: S603 - itself
            [sys.executable, "-c", _KILLED_WRITER, address, A, str(writes)],
            timeout=_PATIENCE_S,
            check=False,
        )
        with open_medium(address) as medium:
            assert ended.returncode == -signal.SIGKILL
            assert list(medium.names()) == []
            # Killed between two volumes: for all that is known, it goes on on one that is missing.
            with pytest.raises((ChunkMissingError, VolumeMissingError)):
                medium.open(A)
            medium.clean()
            assert medium.clean() == []
            store_chunk(medium, A, b"again")
            assert read_chunk(medium, A) == b"again"

    def test_a_full_medium_says_so_and_keeps_what_was_whole(self, small: str) -> None:
        with open_medium(small) as medium:
            store_chunk(medium, A, b"whole")
            with pytest.raises(MediumFullError):
                store_chunk(medium, B, os.urandom(6 * MIB))

            assert list(medium.names()) == [A]
            assert read_chunk(medium, A) == b"whole"

    def test_closing_twice_is_harmless(self, medium: Medium) -> None:
        medium.close()
        medium.close()

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", "x" * 300, "ä"]
    )
    def test_a_name_cannot_lead_elsewhere(self, medium: Medium, name: str) -> None:
        with pytest.raises(UsageError):
            medium.create(name)
        with pytest.raises(UsageError):
            medium.open(name)
        with pytest.raises(UsageError):
            medium.forget(name)


class FailingMedium:
    """Wraps a medium and fails by plan: one letter a ``write`` or ``commit``.

    ``.`` passes, ``F`` is full, ``E`` is an input/output error, ``T`` is full after half of the
    bytes.  The last letter stands for all that follow, so ``"..F"`` is a disk that fills up.
    """

    def __init__(self, inner: Medium, plan: str) -> None:
        self._inner = inner
        self._plan = plan
        self._calls = 0

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    def create(self, name: str) -> Writer:
        return _FailingWriter(self._inner.create(name), self)

    def open(self, name: str) -> Reader:
        return self._inner.open(name)

    def names(self) -> Iterator[str]:
        return self._inner.names()

    def forget(self, name: str) -> None:
        self._inner.forget(name)

    def clean(self) -> list[str]:
        return self._inner.clean()

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def next_letter(self) -> str:
        """Return what the next call does."""
        letter = self._plan[min(self._calls, len(self._plan) - 1)]
        self._calls += 1
        return letter


class _FailingWriter:
    def __init__(self, inner: Writer, medium: FailingMedium) -> None:
        self.name = inner.name
        self._inner = inner
        self._medium = medium

    @property
    def length(self) -> int:
        return self._inner.length

    @length.setter
    def length(self, value: int) -> None:
        self._inner.length = value

    def write(self, views: Sequence[memoryview | bytes]) -> None:
        letter = self._medium.next_letter()
        if letter == "T":
            whole = b"".join(bytes(view) for view in views)
            self._inner.write([whole[: len(whole) // 2]])
        self._fail(letter)
        self._inner.write(views)

    def commit(self) -> None:
        try:
            self._fail(self._medium.next_letter())
        except (MediumFullError, StoreError):
            self._inner.abandon()
            raise
        self._inner.commit()

    def abandon(self) -> None:
        self._inner.abandon()

    def _fail(self, letter: str) -> None:
        if letter in "FT":
            raise MediumFullError(where=self.name)
        if letter == "E":
            raise StoreError(store=self.name, reason="Input/output error")
