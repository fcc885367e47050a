"""A writer is killed at any moment: what it said was durable is, and nothing torn is ever seen.

DATAMOVER_MEDIA_KILLS says how often, for each kind of medium.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys

import pytest

from datamover.errors import StoreError
from datamover.media.opening import open_medium
from datamover.media.tape.virtual_library import create_library
from datamover.testing.media import read_chunk, store_chunk
from datamover.units import KIB, MIB

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

KILLS = int(os.environ.get("DATAMOVER_MEDIA_KILLS", "4"))
WRITER = """
import hashlib, sys
from datamover.media.committer import Committer
from datamover.errors import StoreError
from datamover.media.opening import open_medium

def content(name, size):
    return hashlib.shake_128(name.encode()).digest(size)

address, first = sys.argv[1], int(sys.argv[2])
with open_medium(address) as medium, Committer() as committer:
    for number in range(first, first + 1000):
        name, size = f"00-{number:08x}.dmc", (7000, 900_000, 0, 2_500_000)[number % 4]
        data = content(name, size)
        writer = medium.create(name)
        for at in range(0, size, 300_000):
            writer.write([data[at : at + 300_000]])
        committer.submit(writer, name)
        for done in committer.finished():
            print(done, flush=True)
"""


def size_of(name):
    return (7000, 900_000, 0, 2_500_000)[int(name[3:11], 16) % 4]


def test_on_a_folder(tmp_path):
    kill_writers(f"file://{tmp_path}")


def test_on_an_object_store(objects, tmp_path):
    kill_writers(objects.address(f"killed/{tmp_path.name}", part="5MiB", grace="0"))


def test_on_tapes(tmp_path):
    create_library(tmp_path / "robot", cartridges=200, capacity=5 * MIB, block=64 * KIB)
    kill_writers(f"vtape://{tmp_path}/robot?buffer=1MiB&high=512KiB&low=128KiB")


def kill_writers(address):
    dice = random.Random(os.environ.get("DATAMOVER_SEED", "7"))
    durable, first = set(), 0
    for _ in range(KILLS):
        wanted = dice.randrange(1, 9)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, address, str(first)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            told = [writer.stdout.readline().strip() for _ in range(wanted)]
            # A moment later, in the midst of whatever comes next.
            for _ in range(dice.randrange(20_000)):
                pass
            writer.send_signal(signal.SIGKILL)
            told += writer.stdout.read().split()
        durable |= set(told)
        with open_medium(address) as medium:
            names = list(medium.names())
            assert durable <= set(names)
            for name in names:
                whole = hashlib.shake_128(name.encode()).digest(size_of(name))
                assert read_chunk(medium, name) == whole, name
            medium.clean()
            # What a server was asked for last may still come, whole: nobody can take it back.
            later = set(medium.names())
            assert later >= set(names)
            first = max(int(name[3:11], 16) for name in later) + 1
            # The chunk that it died over comes again, under the same name.
            again = f"00-{first:08x}.dmc"
            whole = hashlib.shake_128(again.encode()).digest(size_of(again))
            try:
                store_chunk(medium, again, whole)
            except StoreError:
                assert "s3://" in address
            assert read_chunk(medium, again) == whole
            durable.add(again)
            first += 1
