"""A writer killed at any instant leaves a catalog that opens and holds a consistent prefix.

The child says on a pipe what it has done after each step; whatever it said was durable must be
there, and nothing may be there that it had not begun.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datamover.catalog.database import Catalog
from datamover.catalog.rows import ArchiveState

STORE = b"K" * 16
CHUNKS = 3
SOURCE = Path(__file__).parents[2] / "src"

WRITER = """
import sys
from pathlib import Path
from datamover.catalog.database import Catalog
from datamover.catalog.rows import *

folder, first = Path(sys.argv[1]), int(sys.argv[2])
with Catalog.open(folder, store=b"K" * 16) as catalog:
    for run in range(first, first + 10_000):
        name = run.to_bytes(16, "big")
        catalog.map.begin(ArchiveRecord(id=name, created_ns=run, label=b"l", wrapped_key=b""))
        for n in range(3):
            chunk = ChunkRecord(
                archive=name, number=n, name=f"{run}-{n}", first_block=2 * n, blocks=2, length=9
            )
            pages = [
                PageRecord(
                    archive=name, block=2 * n + i, kind=PageKind.INDEX, chunk=n, record=bytes(9000)
                )
                for i in (0, 1)
            ]
            catalog.map.add_chunk(chunk, pages)
        catalog.map.complete(name, completed_ns=run, facts=ArchiveFacts(chunks=3, blocks=6))
        print(run, flush=True)
"""


def killed_run(folder, first, delay_s):
    """Run the writer, kill it some time after its first archive; return the last it completed."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    try:
        assert child.stdout.readline() == b"%d\n" % first
        # Not a wait for anything: a random instant is what is tested.
        select.select([], [], [], delay_s)
    finally:
        child.send_signal(signal.SIGKILL)
    said = child.stdout.read().split(b"\n")
    child.stdout.close()
    child.wait()
    return max([first, *(int(word) for word in said[:-1])])


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.faults
def test_a_killed_writer_leaves_a_consistent_prefix(tmp_path):
    Catalog.create(tmp_path, store=STORE)
    clock = random.Random(20)
    first = 0
    broken_off = 0
    for _ in range(20):
        last = killed_run(tmp_path, first, clock.uniform(0.0, 0.05))
        with Catalog.open(tmp_path, store=STORE) as catalog:
            found = catalog.map.archives()
            complete = {int.from_bytes(a.id, "big") for a in found if a.completed_ns is not None}
            open_ones = [a for a in found if a.state is ArchiveState.INCOMPLETE]

            # All it said, at most one that it had no time to say, and at most one begun.
            assert set(range(first, last + 1)) <= complete
            assert max(complete) <= last + 1
            assert len(open_ones) <= 1
            for archive in found[:3]:
                chunks = [c.number for c in catalog.map.chunks(archive.id)]
                pages = [p.block for p in catalog.index.pages(archive.id)]
                assert list(range(len(chunks))) == chunks
                assert list(range(2 * len(chunks))) == pages
                assert archive.state is ArchiveState.INCOMPLETE or len(chunks) == CHUNKS
            for archive in open_ones:
                broken_off += 1
                assert catalog.map.forget(archive.id)
        first = max(complete) + 1

    assert broken_off > 0
