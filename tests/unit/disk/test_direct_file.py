"""What is appended is what is in the file, by whatever way; and whole areas pass the page cache."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.disk.direct import DirectFile
from datamover.disk.staging import PAGE, Staging

AREA = 2 * PAGE
LENGTHS = sorted(
    {max(0, pages * PAGE + more) for pages in range(7) for more in (-1, 0, 1, 511, 512)}
)
NOISE = Random(7).randbytes(16 * PAGE)


def flags_of(file):
    return fcntl.fcntl(file, fcntl.F_GETFL)


class Opened:
    """A new file, and one way or another of writing it."""

    def __init__(self, path, area=AREA):
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.staging = Staging(area)
        self.direct = DirectFile(self.file, self.staging)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.direct.abandon()
        os.close(self.file)


def takes_direct_writes(folder):
    page = mmap.mmap(-1, PAGE)
    path = folder / "probe"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    except OSError:
        return False
    try:
        return os.pwrite(file, page, 0) == PAGE and not any(resident(file, PAGE))
    except OSError:
        return False
    finally:
        os.close(file)
        path.unlink()


def resident(file, length):
    """Say of each page of the file whether it is in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    at = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file, 0)
    seen = (ctypes.c_ubyte * -(-length // PAGE))()
    done = libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(length), seen)
    libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(length))

    assert done == 0
    return [bool(one & 1) for one in seen]


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    if request.param == "disk":
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield place
    shutil.rmtree(place)


@pytest.fixture
def disk(tmp_path):
    if not takes_direct_writes(tmp_path):
        pytest.skip("the file system of the tests has no direct writes")
    return tmp_path


@pytest.fixture
def writes(monkeypatch):
    """The writes that reach the system: offset, length, and whether they pass the cache."""
    seen, real = [], os.pwritev

    def spy(file, views, offset):
        views = list(views)
        seen.append((offset, sum(map(len, views)), bool(flags_of(file) & os.O_DIRECT)))
        return real(file, views, offset)

    monkeypatch.setattr(os, "pwritev", spy)
    return seen


@pytest.mark.parametrize("length", LENGTHS)
def test_a_file_of_any_length_is_what_was_appended(folder, length):
    with Opened(folder / "file") as opened:
        opened.direct.append([NOISE[:length]])
        assert opened.direct.length == length
        opened.direct.finish()

        assert (folder / "file").read_bytes() == NOISE[:length]


@pytest.mark.parametrize("is_refused", [False, True])
@given(sizes=st.lists(st.lists(st.integers(0, 3 * PAGE), max_size=4), max_size=6))
def test_views_of_any_sizes_arrive_in_order(is_refused, sizes):
    random, whole = Random(1), b""
    with tempfile.TemporaryDirectory() as folder, Opened(Path(folder, "file")) as opened:
        with pytest.MonkeyPatch.context() as patch:
            if is_refused:
                patch.setattr(fcntl, "fcntl", refuse_the_flag)
            for group in sizes:
                views = [bytearray(random.randbytes(size)) for size in group]
                whole += b"".join(views)
                opened.direct.append([memoryview(view) for view in views])
                for view in views:
                    view[:] = bytes(len(view))
            opened.direct.finish()

        assert Path(folder, "file").read_bytes() == whole
        assert opened.direct.length == len(whole)


def refuse_the_flag(file, command, value=0, *, real=fcntl.fcntl):
    if command == fcntl.F_SETFL and value & os.O_DIRECT:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return real(file, command, value)


def test_whole_areas_are_written_directly_and_the_rest_is_not(disk, writes):
    with Opened(disk / "file") as opened:
        opened.direct.append([NOISE[: 2 * AREA + PAGE + 5]])
        assert flags_of(opened.file) & os.O_DIRECT
        opened.direct.finish()

        assert not flags_of(opened.file) & os.O_DIRECT
    assert writes == [
        (0, AREA, True),
        (AREA, AREA, True),
        (2 * AREA, PAGE, True),
        (2 * AREA + PAGE, 5, False),
    ]


def test_what_was_written_is_not_in_the_page_cache(disk):
    with Opened(disk / "file") as opened:
        opened.direct.append([NOISE])
        opened.direct.append([b"tail"])
        opened.direct.finish()

        assert resident(opened.file, len(NOISE)) == [False] * (len(NOISE) // PAGE)


def test_a_file_that_fits_the_area_is_one_plain_write(folder, writes):
    with Opened(folder / "file") as opened:
        opened.direct.append([NOISE[:100], NOISE[100 : AREA - 1]])
        opened.direct.finish()

    assert writes == [(0, AREA - 1, False)]


def test_a_refused_flag_means_plain_writes_without_a_copy(folder, writes, monkeypatch):
    monkeypatch.setattr(fcntl, "fcntl", refuse_the_flag)
    with Opened(folder / "file") as opened:
        opened.direct.append([NOISE[:AREA]])
        opened.direct.append([NOISE[AREA : AREA + 7], NOISE[AREA + 7 :]])
        opened.direct.finish()

        assert (folder / "file").read_bytes() == NOISE
    assert writes == [(0, AREA, False), (AREA, len(NOISE) - AREA, False)]


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_refused_write_is_done_again_plainly(disk, monkeypatch, refused):
    real, calls = os.pwritev, []

    def pwritev(file, views, offset):
        calls.append(bool(flags_of(file) & os.O_DIRECT))
        if calls[-1] and len(calls) == refused + 1:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(file, views, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    with Opened(disk / "file") as opened:
        opened.direct.append([NOISE[:-3], NOISE[-3:]])
        opened.direct.finish()

        assert (disk / "file").read_bytes() == NOISE
    assert True not in calls[refused + 1 :]


@pytest.mark.parametrize("part", [PAGE, 512, 5, PAGE + 1])
def test_what_the_kernel_takes_in_parts_arrives_whole(folder, monkeypatch, part):
    real = os.pwritev

    def stingy(file, views, offset):
        size = part
        if flags_of(file) & os.O_DIRECT and size % PAGE:
            # What a disk that fills up does: it takes less, and is left unaligned.
            fcntl.fcntl(file, fcntl.F_SETFL, flags_of(file) & ~os.O_DIRECT)
            done = real(file, [memoryview(b"".join(views))[:size]], offset)
            fcntl.fcntl(file, fcntl.F_SETFL, flags_of(file) | os.O_DIRECT)
            return done
        return real(file, [memoryview(views[0])[:size]], offset)

    monkeypatch.setattr(os, "pwritev", stingy)
    with Opened(folder / "file") as opened:
        for at in range(0, len(NOISE), 5000):
            opened.direct.append([NOISE[at : at + 5000]])
        opened.direct.finish()

        assert (folder / "file").read_bytes() == NOISE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", [0, 1, 2, 3])
def test_what_the_disk_refuses_is_raised_wherever_it_happens(disk, monkeypatch, number, call):
    real, calls = os.pwritev, []

    def pwritev(file, views, offset):
        calls.append(offset)
        if len(calls) == call + 1:
            raise OSError(number, os.strerror(number))
        return real(file, views, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    with Opened(disk / "file") as opened:
        with pytest.raises(OSError, match=os.strerror(number)):  # noqa: PT012 - either may raise
            opened.direct.append([NOISE[: 2 * AREA + PAGE + 1]])
            opened.direct.finish()
        opened.direct.abandon()
        opened.direct.abandon()

        assert len(opened.staging._free) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system to fill")
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_file_system_that_fills_up_says_so(tmp_path, kind):
    place, image = tmp_path / "place", tmp_path / "image"
    place.mkdir()
    command = f"mount -t tmpfs -o size=1m tmpfs {place}"
    if kind == "ext4":
        image.write_bytes(bytes(2 << 20))
        command = f"mkfs.ext4 -q -O ^has_journal {image} && mount -o loop {image} {place}"
    if os.system(f"({command}) >{tmp_path}/said 2>&1") != 0:
        pytest.skip("this root may not mount")
    try:
        with Opened(place / "file") as opened:
            with pytest.raises(OSError, match="No space left"):  # noqa: PT012 - either may raise
                for _ in range(3 * 16):
                    opened.direct.append([NOISE])
                opened.direct.finish()
            opened.direct.abandon()
            written = (place / "file").read_bytes()

            assert len(written) > AREA
            assert written == (NOISE * 48)[: len(written)]
    finally:
        os.system(f"umount -l {place}")


def test_areas_are_used_again_and_begin_at_a_page(folder):
    staging = Staging(AREA)
    first = staging.take()
    staging.give(first)
    for _ in range(10):
        with Opened(folder / "file") as opened:
            opened.direct = DirectFile(opened.file, staging)
            opened.direct.append([NOISE[: AREA + 1]])
            opened.direct.finish()

    assert staging._free == [first]
    assert ctypes.addressof(ctypes.c_char.from_buffer(first)) % PAGE == 0


def test_two_files_at_once_have_an_area_each(folder):
    staging = Staging(AREA)
    with Opened(folder / "one") as one, Opened(folder / "two") as two:
        one.direct, two.direct = DirectFile(one.file, staging), DirectFile(two.file, staging)
        for at in range(0, len(NOISE), 1000):
            one.direct.append([NOISE[at : at + 1000]])
            two.direct.append([NOISE[at : at + 1000][::-1]])
        one.direct.finish()
        two.direct.finish()

    assert (folder / "one").read_bytes() == NOISE
    assert (folder / "two").read_bytes() == b"".join(
        NOISE[at : at + 1000][::-1] for at in range(0, len(NOISE), 1000)
    )


@pytest.mark.parametrize("folder", ["memory"], indirect=True)
def test_in_memory_nothing_is_staged(folder, writes):
    with Opened(folder / "file") as opened:
        opened.direct.append([NOISE[:100], NOISE[100:200]])
        opened.direct.append([NOISE[200:]])

        assert opened.direct._area is None
        assert writes == [(0, 200, False), (200, len(NOISE) - 200, False)]


def test_abandoning_writes_nothing_more(disk, writes):
    with Opened(disk / "file") as opened:
        opened.direct.append([NOISE[:100]])
        opened.direct.abandon()

    assert writes == []
