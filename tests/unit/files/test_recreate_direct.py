"""Large files are written past the page cache, and come out as they would through it."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.disk.staging import PAGE, Staging
from datamover.errors import RestoreError
from datamover.files import recreate as module
from datamover.files.destination import Destination
from datamover.files.entry import Entry, EntryFlag, Kind, Status
from datamover.files.recreate import Recreate
from datamover.files.table import encode_entry, write_table

BLOCK = 5 * PAGE + 100
NOISE = Random(3).randbytes(1 << 20)


def block(entry, data):
    records = [encode_entry(entry)]
    out = memoryview(bytearray(1 << 20))
    size = write_table(out, records)
    out[size : size + len(data)] = data
    return out[: size + len(data)]


def parts(extents_of_blocks, size, *, status=(), actual=0):
    """The blocks of one file, whose data is cut from the noise at the same offsets."""
    before, blocks = 0, []
    for number, extents in enumerate(extents_of_blocks):
        flags = EntryFlag.CONTINUES if number else 0
        if number < len(extents_of_blocks) - 1:
            flags |= EntryFlag.MORE
        entry = Entry(b"file", int(Kind.FILE), 0o100644, size=size, flags=int(flags), before=before)
        entry.extents = tuple(extents)
        if number in status:
            entry.status, entry.actual = int(Status.SHORT), actual
        data = b"".join(NOISE[offset : offset + length] for offset, length in extents)
        before += len(data)
        blocks.append(block(entry, data))
    return blocks


def whole(size):
    return [[(at, min(BLOCK, size - at))] for at in range(0, size, BLOCK)]


def restored(folder, blocks, *, direct=True):
    """Return the notices, the counts and the file's bytes; None when there is none."""
    notices = []
    with Destination(os.open(folder, os.O_RDONLY | os.O_DIRECTORY)) as destination:
        recreate = Recreate(destination, lambda *said: notices.append(said), direct=direct)
        recreate._staging = Staging(2 * PAGE)
        try:
            for one in blocks:
                recreate.block(one)
            recreate.finish()
        finally:
            recreate.close()
    file = Path(folder, "file")
    return notices, recreate.counts, file.read_bytes() if file.exists() else None


@pytest.fixture(autouse=True, scope="module")
def no_file_is_too_small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LARGE", 6 * PAGE)
        yield


@pytest.fixture
def directly(monkeypatch):
    """The bytes that were written with O_DIRECT; ``os`` has it on a flag of the file."""
    seen, real = [], os.pwritev

    def spy(file, views, offset):
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            seen.append(sum(map(len, views)))
        return real(file, views, offset)

    monkeypatch.setattr(os, "pwritev", spy)
    return seen


def test_a_large_file_is_written_directly(tmp_path, directly):
    size = 4 * BLOCK + 77
    notices, counts, data = restored(tmp_path, parts(whole(size), size))

    assert (notices, counts.files, counts.bytes) == ([], 1, size)
    assert data == NOISE[:size]
    assert sum(directly) == size // PAGE * PAGE


def test_a_caller_that_does_not_wait_for_the_disk_has_the_cache(tmp_path, directly):
    size = 4 * BLOCK
    restored(tmp_path, parts(whole(size), size), direct=False)

    assert directly == []


def test_a_file_of_two_blocks_that_is_small_has_the_cache(tmp_path, directly):
    size = 5 * PAGE
    _, _, data = restored(tmp_path, parts([[(0, PAGE)], [(PAGE, 4 * PAGE)]], size))

    assert (data, directly) == (NOISE[:size], [])


def test_what_follows_a_lost_block_is_in_its_place(tmp_path, directly):
    size = 5 * BLOCK
    blocks = parts(whole(size), size)
    del blocks[2]
    notices, _, data = restored(tmp_path, blocks)

    assert [said[0] for said in notices] == ["incomplete"]
    assert data == NOISE[: 2 * BLOCK] + bytes(BLOCK) + NOISE[3 * BLOCK : size]
    assert sum(directly) == 2 * BLOCK // PAGE * PAGE


def test_a_file_that_lost_its_last_block_has_its_length(tmp_path):
    size = 3 * BLOCK
    notices, _, data = restored(tmp_path, parts(whole(size), size)[:-1])

    assert [said[0] for said in notices] == ["incomplete"]
    assert data == NOISE[: 2 * BLOCK] + bytes(BLOCK)


def test_a_file_that_shrank_ends_where_it_ended(tmp_path):
    size = 3 * BLOCK
    blocks = parts(whole(size), size, status={2}, actual=2 * BLOCK + 9)
    _, counts, data = restored(tmp_path, blocks)

    assert (counts.files, data) == (1, NOISE[: 2 * BLOCK + 9])


@st.composite
def sparse(draw):
    """Ascending extents, some of them one behind the other, spread over blocks."""
    at, blocks = 0, []
    for _ in range(draw(st.integers(2, 5))):
        extents = []
        for _ in range(draw(st.integers(0, 3))):
            at += draw(st.sampled_from([0, 0, 0, 1, PAGE, 3 * PAGE + 5]))
            length = draw(st.sampled_from([1, PAGE - 1, PAGE, 2 * PAGE, 3 * PAGE + 1]))
            extents.append((at, length))
            at += length
        blocks.append(extents)
    lost = draw(st.sets(st.integers(1, len(blocks) - 1), max_size=1))
    return blocks, max(at + draw(st.sampled_from([0, 1, PAGE])), 6 * PAGE), lost


@given(sparse())
def test_holes_and_losses_are_the_same_by_either_way(given_sparse):
    extents, size, lost = given_sparse
    blocks = [one for i, one in enumerate(parts(extents, size)) if i not in lost]
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        assert restored(one, blocks) == restored(two, blocks, direct=False)


@pytest.fixture(params=["append", "finish"])
def refusing(request, monkeypatch):
    """Makes the first write of an area fail, or the last one; call it with the error's number."""

    def start(number):
        real = os.pwritev

        def pwritev(file, views, offset):
            is_last = sum(map(len, views)) % PAGE
            if bool(is_last) == (request.param == "finish"):
                raise OSError(number, os.strerror(number))
            return real(file, views, offset)

        monkeypatch.setattr(os, "pwritev", pwritev)

    return start


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_destination_ends_the_restore_and_keeps_no_half_file(tmp_path, refusing, number):
    refusing(number)
    size = 4 * BLOCK + 77
    with pytest.raises(RestoreError, match=os.strerror(number)):
        restored(tmp_path, parts(whole(size), size))

    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_written_is_told_of_and_removed(tmp_path, refusing):
    refusing(errno.EIO)
    size = 4 * BLOCK + 77
    notices, counts, data = restored(tmp_path, parts(whole(size), size))

    assert [said[0] for said in notices] == ["failed"]
    assert (counts.files, counts.skipped, data) == (0, 1, None)


def test_a_restore_that_is_broken_off_lets_go_of_the_file(tmp_path):
    size = 4 * BLOCK
    with Destination(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)) as destination:
        recreate = Recreate(destination, lambda *_: None, direct=True)
        recreate.block(parts(whole(size), size)[0])
        recreate.close()
        recreate.close()

        assert len(recreate._staging._free) == 1
