"""Whatever a writer was doing when it was killed, the next one cleans up and loses nothing.

The child backs up in a loop and says each archive that is complete.  After each kill the store is
cleaned; then every archive that was said is whole, nothing else is left, and a rebuilt catalog is
the same as the one that is there.
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

from datamover.catalog.rows import ArchiveState
from datamover.mover.listing import entries
from datamover.mover.rebuild import rebuild_catalog
from datamover.mover.store import Store, create_store

SOURCE = Path(__file__).parents[2] / "src"
FILES = 6

WRITER = """
import sys
from datamover.files.entry import Entry, Kind
from datamover.mover.store import Store
from datamover.testing.chunks import backup_without_a_pipe

tables = [[Entry(b"f/%d" % n, Kind.FILE, 0o100644, size=3, extents=((0, 3),))] for n in range(6)]
with Store.open(sys.argv[1]) as store:
    store.clean()
    while True:
        print(backup_without_a_pipe(store, tables, per_chunk=2).id.hex(), flush=True)
"""

REBUILDER = """
import sys
from datamover.mover.rebuild import rebuild_catalog

print("begun", flush=True)
while True:
    rebuild_catalog(sys.argv[1])
"""


def killed(program, store, delay_s):
    """Run ``program``, kill it some time after its first line; return its lines."""
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(store)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    try:
        lines = [child.stdout.readline()]
        # Not a wait for anything: a random instant is what is tested.
        select.select([], [], [], delay_s)
    finally:
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.stdout.close()
        child.wait()
    return [
        line.strip().decode()
        for line in [*lines, *rest.splitlines(keepends=True)]
        if line.endswith(b"\n")
    ]


def rows(store):
    with store.catalog._reading() as session:
        return [
            sorted(
                (tuple(row.values()) for row in session.rows(f"SELECT * FROM {table}")), key=repr
            )
            for table in ("archive", "chunk", "page")
        ]


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.faults
def test_a_killed_writer_costs_its_own_archive_alone(tmp_path):
    path = tmp_path / "s"
    create_store(path, passphrase=None, cipher="none")
    chance = random.Random(7)
    said = set()
    for _ in range(12):
        said |= set(killed(WRITER, path, chance.uniform(0, 0.04)))
        with Store.open(path) as store:
            done = store.clean()
            known = store.catalog.map.archives()
            chunks = {c.name for a in known for c in store.catalog.map.chunks(a.id)}

            assert done.kept == ()
            assert {a.state for a in known} == {ArchiveState.COMPLETE}
            assert said <= {a.id.hex() for a in known}
            assert {one.name for one in store.chunks.iterdir()} == chunks
            assert list(store.tmp.iterdir()) == list(store.active.iterdir()) == []
            assert len(list(entries(store))) == FILES
            before = rows(store)
    rebuild_catalog(path)
    with Store.open(path) as store:
        assert rows(store) == before


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.faults
def test_a_killed_rebuild_leaves_the_old_catalog_or_the_new(tmp_path):
    path = tmp_path / "s"
    create_store(path, passphrase=None, cipher="none")
    killed(WRITER, path, 0.2)
    with Store.open(path) as store:
        store.clean()
        before = rows(store)
    chance = random.Random(8)
    for _ in range(8):
        killed(REBUILDER, path, chance.uniform(0, 0.3))
        with Store.open(path) as store:
            assert rows(store) == before
