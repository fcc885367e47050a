"""A source is what lies below its name, and nothing beside it."""

from __future__ import annotations

import os

import pytest

from datamover.disk.straight import make_straight
from datamover.errors import MalformedError
from datamover.files.entry import Entry, Kind
from datamover.files.origin import Origin
from datamover.files.table import encode_entry, write_table
from datamover.pipe.definition import find
from datamover.testing.port import ScriptedPort


@pytest.fixture
def top(tmp_path):
    for name in ("ours", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"data")
    return tmp_path


@pytest.mark.parametrize("straight", [False, True])
def test_what_lies_beside_a_source_is_not_opened(top, straight):
    root = make_straight(f"{top}/ours") if straight else f"{top}/ours"
    with Origin([os.fsencode(root)]) as origin:
        os.close(origin.open(0, b"ours/file"))
        for path in (b"beside/file", b"file", b"ours2/file"):
            with pytest.raises(MalformedError, match="not below its source"):
                origin.open(0, path)
            with pytest.raises(MalformedError, match="not below its source"):
                origin.path(0, path)
        assert origin.path(0, b"ours/file") == os.fsencode(f"{root}/file")
        assert origin.name(0, b"ours/file") == os.fsencode(f"{top}/ours/file")


@pytest.mark.parametrize("path", [b"beside/file", b"top"])
def test_what_lies_beside_a_source_is_not_collected(top, path):
    (top / "top").write_bytes(b"data")
    entry = Entry(path, int(Kind.FILE), 0o100644, 0, 0, 4, 0, 0, 0, 0, extents=((0, 4),))
    room = memoryview(bytearray(4096))
    used = write_table(room, [encode_entry(entry)])
    port = ScriptedPort([(None, bytes(room[: used + 4]))], buffer_size=4096)
    collect = find("collect")

    with pytest.raises(MalformedError, match="not below its source"):
        collect.run(port, collect.convert({"roots": [f"{top}/ours"]}))
