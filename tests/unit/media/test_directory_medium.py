"""A folder as a medium: what is torn is never listed, and nothing leads out of it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from datamover.disk.staging import Staging
from datamover.errors import ChunkMissingError, MediumFullError, StoreError
from datamover.media.directory import DirectoryMedium
from datamover.testing.media import read_chunk, store_chunk
from datamover.units import MIB

NAME = "00-00000000.dmc"


@pytest.fixture
def medium(tmp_path):
    with DirectoryMedium(tmp_path) as found:
        yield found


@pytest.fixture
def small_areas(medium, monkeypatch):
    monkeypatch.setattr(medium, "_staging", Staging(MIB))


def refuse(number):
    def call(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return call


def test_nothing_is_made_by_looking(medium, tmp_path):
    assert list(medium.names()) == []
    assert medium.clean() == []
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_killed_writer_is_removed_by_the_next(medium, tmp_path):
    code = (
        "import os, signal, sys; from datamover.media.directory import DirectoryMedium as M;"
        f"w = M(sys.argv[1]).create({NAME!r}); w.write([b'half']); os.kill(os.getpid(), 9)"
    )
    src = os.path.join(os.path.dirname(__file__), "..", "..", "..", "src")
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env={"PYTHONPATH": src}, check=False
    )
    left = os.listdir(tmp_path / "tmp")

    assert len(left) == 1
    assert medium.clean() == left
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwritev", "fsync", "link"])
def test_a_full_disk_is_said_so_and_keeps_nothing(medium, tmp_path, monkeypatch, call, number):
    writer = medium.create(NAME)
    monkeypatch.setattr(os, call, refuse(number))
    with pytest.raises(MediumFullError):  # noqa: PT012 - either call may be the one that is refused
        writer.write([b"x"])
        writer.commit()
    monkeypatch.undo()
    writer.abandon()

    assert os.listdir(tmp_path / "chunks") == os.listdir(tmp_path / "tmp") == []


def test_a_full_disk_is_said_so_when_a_chunk_is_started(medium, monkeypatch):
    store_chunk(medium, NAME, b"makes the folders")
    monkeypatch.setattr(os, "open", refuse(errno.ENOSPC))

    with pytest.raises(MediumFullError):
        medium.create("00-00000001.dmc")


@pytest.mark.usefixtures("small_areas")
def test_another_refusal_names_the_place(medium, tmp_path, monkeypatch):
    writer = medium.create(NAME)
    monkeypatch.setattr(os, "pwritev", refuse(errno.EIO))
    with pytest.raises(StoreError, match=str(tmp_path)):
        writer.write([bytes(MIB)])
    writer.abandon()


def test_a_name_that_may_not_last_is_taken_back(medium, tmp_path, monkeypatch):
    writer = medium.create(NAME)
    real, calls = os.fsync, []

    def fsync(file):
        calls.append(file)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError):
        writer.commit()

    assert os.listdir(tmp_path / "chunks") == []


def test_data_then_name_then_folder_reach_the_disk_in_that_order(medium, monkeypatch):
    writer = medium.create(NAME)
    done = []
    write, sync, link = os.pwritev, os.fsync, os.link
    monkeypatch.setattr(os, "pwritev", lambda *a: (done.append("write"), write(*a))[1])
    monkeypatch.setattr(os, "fsync", lambda f: (done.append(os.fstat(f).st_mode >> 12), sync(f)))
    monkeypatch.setattr(os, "link", lambda *a, **k: (done.append("link"), link(*a, **k)))
    writer.write([b"x"])
    writer.commit()

    assert done == ["write", 8, "link", 4]


def test_a_name_that_stays_aside_is_the_next_cleaners(medium, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "unlink", refuse(errno.EIO))
    store_chunk(medium, NAME, b"x")
    monkeypatch.undo()
    left = os.listdir(tmp_path / "tmp")

    assert len(left) == 1
    assert medium.clean() == left
    assert read_chunk(medium, NAME) == b"x"


def has_no_links(*_args, **_kwargs):
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_chunk_never_takes_the_place_of_another(medium, tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(os, "link", has_no_links)
    one, two = medium.create(NAME), medium.create(NAME)
    one.write([b"first"])
    one.commit()
    two.write([b"second"])
    with pytest.raises(StoreError, match="already there"):
        two.commit()

    assert read_chunk(medium, NAME) == b"first"
    assert os.listdir(tmp_path / "tmp") == []


def test_a_file_system_without_links_has_renames(medium, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", has_no_links)
    store_chunk(medium, NAME, b"x")

    assert read_chunk(medium, NAME) == b"x"
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.usefixtures("small_areas")
def test_a_large_chunk_is_written_past_the_page_cache(medium, monkeypatch):
    seen, real = [], os.pwritev

    def spy(file, views, offset):
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            seen.append(sum(map(len, views)))
        return real(file, views, offset)

    monkeypatch.setattr(os, "pwritev", spy)
    payload = bytes(range(256)) * (3 * MIB // 256) + b"tail"
    store_chunk(medium, NAME, payload)

    assert read_chunk(medium, NAME) == payload
    assert sum(seen) == 3 * MIB


def test_the_areas_of_chunks_are_used_again(medium):
    for number in range(5):
        store_chunk(medium, f"00-{number:08x}.dmc", b"x" * MIB)

    assert len(medium._staging._free) == 1


def test_what_the_kernel_takes_in_parts_arrives_whole(medium, monkeypatch):
    real = os.pwritev

    def stingy(file, views, offset):
        return real(file, [b"".join(map(bytes, views))[:5]], offset)

    monkeypatch.setattr(os, "pwritev", stingy)
    writer = medium.create(NAME)
    writer.write([b"abc", memoryview(b""), b"defghij", b"klm"])
    writer.write([b"nopqrstuv"])
    writer.commit()

    assert read_chunk(medium, NAME) == b"abcdefghijklmnopqrstuv"


def test_what_the_kernel_gives_in_parts_arrives_whole(medium, monkeypatch):
    store_chunk(medium, NAME, bytes(range(60)))
    real = os.preadv

    def stingy(file, views, offset):
        return real(file, [next(v for v in views if len(v))[:7]], offset)

    monkeypatch.setattr(os, "preadv", stingy)
    one, two = bytearray(10), bytearray(45)
    with medium.open(NAME) as reader:
        done = reader.read_into([memoryview(one), memoryview(two)], 5)

    assert (done, bytes(one + two)) == (55, bytes(range(5, 60)))


def test_a_link_in_place_of_a_chunk_is_not_followed(medium, tmp_path):
    store_chunk(medium, "00-00000001.dmc", b"x")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "chunks" / NAME).symlink_to(tmp_path / "secret")

    assert list(medium.names()) == ["00-00000001.dmc"]
    with pytest.raises(StoreError):
        medium.open(NAME)


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "chunks").symlink_to(tmp_path / "elsewhere")
    with DirectoryMedium(tmp_path / "store") as medium, pytest.raises(StoreError):
        medium.create(NAME)

    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_fifo_in_place_of_a_chunk_does_not_hang(medium, tmp_path):
    store_chunk(medium, "00-00000001.dmc", b"x")
    os.mkfifo(tmp_path / "chunks" / NAME)

    with pytest.raises(ChunkMissingError):
        medium.open(NAME)


def test_a_writer_outlives_its_medium(tmp_path):
    medium = DirectoryMedium(tmp_path)
    writer = medium.create(NAME)
    medium.close()
    writer.write([b"x"])
    writer.commit()

    assert os.listdir(tmp_path / "chunks") == [NAME]


def test_no_descriptor_is_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with DirectoryMedium(tmp_path) as medium:
        store_chunk(medium, NAME, b"x")
        read_chunk(medium, NAME)
        medium.create("00-00000001.dmc").abandon()
        medium.clean()

    assert len(os.listdir("/proc/self/fd")) == before
