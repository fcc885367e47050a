"""Whole sessions and plain bytes, through files and pipes, in every framing."""

from __future__ import annotations

import os
import threading

import pytest

from datamover.errors import (
    FormatError,
    MediumFullError,
    SourceError,
    StopRequestedError,
    StoreError,
    TruncatedError,
    UsageError,
)
from datamover.ids import ArchiveId, BlockNumber
from datamover.stages.head import read, read_stream
from datamover.stages.tail import write, write_stream
from datamover.testing.port import ScriptedPort
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveHeader
from datamover.wire.tag import TagHeader, TagKind

HEADER = ArchiveHeader(
    archive=ArchiveId(bytes(range(16))), created_ns=Nanoseconds(5), block_size=Bytes(4096)
)
FRAMINGS = ["leading", "enclosing", "full"]


def block(number: int, payload: bytes) -> tuple[TagHeader, bytes]:
    size = Bytes(len(payload))
    return TagHeader(kind=TagKind.DATA, block=BlockNumber(number), length=size, plain=size), payload


BLOCKS = [block(n, bytes([n]) * (n * 100)) for n in range(12)]
WHOLE = [(tag.block, payload) for tag, payload in BLOCKS]


def do_write(path, framing="full", blocks=BLOCKS, chunk_size=2000) -> ScriptedPort:
    port = ScriptedPort(blocks)
    archive = HEADER.encode().hex()
    settings = write_stream.Settings(
        path=str(path), archive=archive, framing=framing, chunk_size=chunk_size
    )
    write_stream.run(port, settings)
    assert port.held == 0
    return port


def do_read(path, **port_settings) -> ScriptedPort:
    port = ScriptedPort(**port_settings)
    read_stream.run(port, read_stream.Settings(path=str(path)))
    assert port.held == 0
    return port


def loaded(port) -> list[tuple[int, bytes]]:
    return [(out.tag.block, out.payload) for out in port.outputs]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("blocks", [BLOCKS, []])
def test_a_session_comes_back_in_any_framing(tmp_path, framing, blocks):
    written = do_write(tmp_path / "s", framing, blocks)
    port = do_read(tmp_path / "s")

    assert loaded(port) == WHOLE[: len(blocks)]
    assert port.noticed("archive") == [
        {"archive": HEADER.archive.hex(), "header": HEADER.encode().hex()}
    ]
    assert port.noticed("incomplete") == port.noticed("damaged") == []
    assert written.results["bytes_stored"] == (tmp_path / "s").stat().st_size
    assert written.results["blocks"] == len(blocks)
    assert (written.results["chunks"] > 2) == bool(blocks)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_session_goes_through_a_pipe(tmp_path, framing):
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=do_write, args=(tmp_path / "fifo", framing))
    writer.start()
    port = do_read(tmp_path / "fifo")
    writer.join()

    assert loaded(port) == WHOLE


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_cut_stream_is_an_error(tmp_path, framing):
    do_write(tmp_path / "s", framing)
    whole = (tmp_path / "s").read_bytes()
    for cut in range(0, len(whole), 97):
        (tmp_path / "s").write_bytes(whole[:cut])
        with pytest.raises(TruncatedError):
            read_stream.run(ScriptedPort(buffers=2), read_stream.Settings(path=str(tmp_path / "s")))


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_flipped_bit_is_noticed(tmp_path, framing):
    blocks = [block(n, bytes([65 + n]) * 8) for n in range(3)]
    do_write(tmp_path / "s", framing, blocks)
    whole = (tmp_path / "s").read_bytes()
    for bit in range(0, len(whole) * 8, 5):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        (tmp_path / "s").write_bytes(data)
        port = ScriptedPort(buffers=2, buffer_size=64)
        try:
            read_stream.run(port, read_stream.Settings(path=str(tmp_path / "s")))
        except FormatError:
            continue

        assert port.noticed("damaged"), bit
        assert all(payload == blocks[b][1] for b, payload in loaded(port))


def test_a_block_longer_than_a_buffer_is_told_and_passed_over(tmp_path):
    do_write(tmp_path / "s", blocks=[block(0, b"x" * 60000), block(1, b"y")], chunk_size=1 << 20)
    port = do_read(tmp_path / "s", buffer_size=1024)

    assert loaded(port) == [(1, b"y")]
    assert [n["block"] for n in port.noticed("damaged")] == [0]


def test_an_unknown_framing_is_refused_before_the_file_is_touched(tmp_path):
    with pytest.raises(UsageError, match="leading, enclosing, full"):
        do_write(tmp_path / "s", "odd")

    assert not (tmp_path / "s").exists()


def test_a_reader_that_left_is_an_error():
    reader, writer = os.pipe()
    os.close(reader)
    port = ScriptedPort([(None, b"x" * 100)])
    with pytest.raises(StoreError):
        write.run(port, write.Settings(path=f"/proc/self/fd/{writer}"))
    os.close(writer)


def test_a_full_sink_is_said_so():
    with pytest.raises(MediumFullError):
        write.run(ScriptedPort([(None, b"x")]), write.Settings(path="/dev/full"))


def test_payloads_are_written_one_behind_the_other(tmp_path):
    port = ScriptedPort([(None, b"abc"), (BLOCKS[1][0], BLOCKS[1][1]), (None, b"")])
    write.run(port, write.Settings(path=str(tmp_path / "f")))

    assert (tmp_path / "f").read_bytes() == b"abc" + BLOCKS[1][1]
    assert port.results == {"bytes": 103}
    assert port.freed == 3


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 12345])
@pytest.mark.parametrize("instances", [1, 2, 5])
def test_a_file_is_read_by_any_number_of_instances(tmp_path, size, instances):
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    sent = []
    for instance in range(instances):
        port = ScriptedPort(buffer_size=1000, instance=instance, instances=instances)
        read.run(port, read.Settings(path=str(tmp_path / "f")))
        assert port.held == 0
        sent += port.outputs
    if instances > 1:
        assert sorted(out.sequence for out in sent) == list(range(len(sent)))
        sent.sort(key=lambda out: out.sequence)

    assert b"".join(out.payload for out in sent) == data


def test_several_instances_of_a_pipe_are_refused():
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(UsageError):
        read.run(ScriptedPort(instances=2), read.Settings(path=f"/proc/self/fd/{reader}"))
    os.close(reader)


def test_a_pipe_is_read_to_its_end_in_whole_buffers():
    reader, writer = os.pipe()
    os.write(writer, b"a" * 1500)
    os.write(writer, b"b" * 1000)
    os.close(writer)
    port = ScriptedPort(buffer_size=1000)
    read.run(port, read.Settings(path=f"/proc/self/fd/{reader}"))
    os.close(reader)

    assert [len(out.payload) for out in port.outputs] == [1000, 1000, 500]


def test_a_stop_reaches_a_head_whose_source_is_silent():
    reader, writer = os.pipe()
    port = ScriptedPort(stop_after=2)
    with pytest.raises(StopRequestedError):
        read.run(port, read.Settings(path=f"/proc/self/fd/{reader}"))
    os.close(reader)
    os.close(writer)


def test_a_source_that_is_not_there_is_an_error(tmp_path):
    for stage in (read, read_stream):
        with pytest.raises(SourceError):
            stage.run(ScriptedPort(), stage.Settings(path=str(tmp_path / "none")))


def test_a_file_that_shrinks_under_several_instances_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"x" * 2500)
    real = os.lseek
    monkeypatch.setattr(os, "lseek", lambda *given: real(*given) + 1)
    port = ScriptedPort(buffer_size=1000, instances=2)
    with pytest.raises(SourceError):
        read.run(port, read.Settings(path=str(tmp_path / "f")))

    assert port.held == 0
