"""Reading and writing stages in real pipes: processes, several readers, every framing."""

from __future__ import annotations

import os

import pytest

from datamover.ids import ArchiveId
from datamover.monitor.supervisor import run
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveHeader

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ARCHIVE = ArchiveHeader(
    archive=ArchiveId(bytes(range(16))), created_ns=Nanoseconds(1), block_size=Bytes(65536)
)


def do_run(*stages: tuple[str, int, dict[str, object]]):
    notices = []
    outcome = run(
        PipeSpec(
            name="t",
            stages=tuple(
                StageSpec(use=use, instances=instances, settings=settings)
                for use, instances, settings in stages
            ),
            buffers=12,
            buffer_size=65536,
        ),
        on_notice=lambda stage, _instance, kind, given: notices.append((stage, kind, given)),
    )
    return outcome, notices


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").write_bytes(os.urandom(3_000_001))
    return tmp_path / "in"


@pytest.mark.parametrize("instances", [1, 3])
def test_a_file_is_copied_whole_by_any_number_of_readers(source, tmp_path, instances):
    do_run(
        ("read", instances, {"path": str(source)}),
        ("write", 1, {"path": str(tmp_path / "out")}),
    )

    assert (tmp_path / "out").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("framing", ["leading", "enclosing", "full"])
def test_a_compressed_session_is_written_and_read_back(source, tmp_path, framing):
    stream = str(tmp_path / "stream")
    settings = {"path": stream, "archive": ARCHIVE.encode().hex(), "framing": framing}
    do_run(
        ("read", 2, {"path": str(source)}),
        ("compress", 2, {}),
        ("write_stream", 1, settings | {"chunk_size": 300_000}),
    )
    do_run(
        ("read_stream", 1, {"path": stream}),
        ("expand", 2, {}),
        ("write", 1, {"path": str(tmp_path / "out")}),
    )

    assert (tmp_path / "out").read_bytes() == source.read_bytes()


def test_several_loaders_bring_an_archive_back_in_order(source, tmp_path):
    store = str(tmp_path)
    given = {"directory": store, "archive": ARCHIVE.encode().hex(), "chunk_size": 500_000}
    _, notices = do_run(("read", 2, {"path": str(source)}), ("store", 1, given))
    names = [facts["name"] for _, kind, facts in notices if kind == "chunk"]
    load = {"directory": store, "archive": ARCHIVE.archive.hex(), "chunks": names}
    do_run(("load", 3, load), ("write", 1, {"path": str(tmp_path / "out")}))

    assert len(names) > 5
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


def test_a_damaged_block_does_not_stop_several_loaders(source, tmp_path):
    store = str(tmp_path)
    given = {"directory": store, "archive": ARCHIVE.encode().hex()}
    do_run(("read", 1, {"path": str(source)}), ("store", 1, given))
    (chunk,) = (tmp_path / "chunks").iterdir()
    data = bytearray(chunk.read_bytes())
    data[100_000] ^= 1
    chunk.write_bytes(data)
    load = {"directory": store, "archive": ARCHIVE.archive.hex(), "chunks": [chunk.name]}
    _, notices = do_run(("load", 2, load), ("write", 1, {"path": str(tmp_path / "out")}))

    whole = source.read_bytes()
    assert [facts["block"] for _, kind, facts in notices if kind == "damaged"] == [1]
    assert (tmp_path / "out").read_bytes() == whole[:65536] + whole[2 * 65536 :]
