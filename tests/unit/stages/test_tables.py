"""Tables keep the order of entries, whatever their size is."""

from __future__ import annotations

import stat

from datamover.files.entry import Entry, Kind
from datamover.files.table import decode_entries
from datamover.stages.tables import Tables
from datamover.testing.port import ScriptedPort


def test_a_long_entry_gets_a_block_of_its_own():
    port = ScriptedPort([], buffer_size=65536, buffers=40)
    tables = Tables(port, size=4096)
    names = [b"a", b"b" * 200, b"c/" + b"d" * 20_000, b"e", b"f" * 1900, b"g"]
    for name in names:
        entry = Entry(name, Kind.DIRECTORY, stat.S_IFDIR | 0o755)

        assert tables.fits(entry)
        tables.add(entry, lambda _: ())
    tables.finish()
    found = [
        [one.path for one in decode_entries(memoryview(output.payload))] for output in port.outputs
    ]

    assert [name for block in found for name in block] == names
    assert [names[2]] in found
    assert all(len(one.payload) <= 4096 for one in port.outputs if len(one.payload) < 20_000)


def test_what_fits_no_block_loses_its_attributes_first():
    port = ScriptedPort([], buffer_size=4096)
    tables = Tables(port)
    entry = Entry(b"a", Kind.FILE, stat.S_IFREG, xattrs=((b"user.x", bytes(3000)),))

    assert tables.fits(entry)
    assert entry.xattrs == ()
    assert [one["path"] for one in port.noticed("xattrs-dropped")] == ["a"]
    assert not tables.fits(Entry(b"b" * 3000, Kind.FILE, stat.S_IFREG))
