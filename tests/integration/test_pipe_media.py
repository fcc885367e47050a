"""An archive goes to a medium by its address, and comes back byte for byte, in processes.

One pipe is a file that ``datamover pipe run`` reads; the other is built in Python.
"""

from __future__ import annotations

import hashlib
import os

import pytest

from datamover.media.tape.virtual_library import create_library
from datamover.monitor.supervisor import run
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.testing.program import Program
from datamover.units import KIB, MIB

pytestmark = [pytest.mark.processes, pytest.mark.slow]

WRITING = """
name = "to-a-medium"
buffers = 8
buffer_size = "1MiB"
[[stage]]
use = "read"
settings = {{ path = "{source}" }}
[[stage]]
use = "checksum"
[[stage]]
use = "compress"
instances = 2
[[stage]]
use = "store"
settings = {{ medium = "{address}", chunk_size = 4000000 }}
"""


def from_medium(address: str, *stages: StageSpec):
    notices = []
    load = StageSpec(use="load", settings={"medium": address, "listed": True})
    spec = PipeSpec(
        name="from-a-medium",
        stages=(load, StageSpec(use="expand", instances=2), StageSpec(use="verify"), *stages),
        buffers=16,
        buffer_size=MIB,
    )
    run(spec, on_notice=lambda *told: notices.append(told))
    return notices


class PipeSuite:
    """Subclass, and override ``address``."""

    @pytest.fixture
    def source(self, tmp_path):
        # Half of it does not compress.
        path = tmp_path / "source"
        path.write_bytes(b"".join(os.urandom(MIB) + bytes(MIB) for _ in range(8)) + b"odd")
        return path

    def test_what_is_stored_on_the_medium_comes_back(self, address, source, tmp_path):
        (tmp_path / "pipe.toml").write_text(WRITING.format(source=source, address=address))
        Program().run("pipe", "run", tmp_path / "pipe.toml").check(0)
        write = StageSpec(use="write", settings={"path": str(tmp_path / "back")})
        told = from_medium(address, write)

        assert [one for one in told if one[2] in {"missing", "damaged"}] == []
        assert digest(tmp_path / "back") == digest(source)
        assert from_medium(address, StageSpec(use="discard")) == told


class TestFolder(PipeSuite):
    @pytest.fixture
    def address(self, tmp_path):
        (tmp_path / "medium").mkdir()
        return f"file://{tmp_path}/medium"


class TestObjectStore(PipeSuite):
    @pytest.fixture
    def address(self, objects, request):
        return objects.address(f"pipes/{abs(hash(request.node.nodeid)):x}")


class TestTapes(PipeSuite):
    @pytest.fixture
    def address(self, tmp_path):
        # Chunks of 4 MB: each goes on on the next cartridge.
        create_library(tmp_path / "robot", cartridges=5, capacity=3 * MIB, block=64 * KIB)
        return f"vtape://{tmp_path}/robot?buffer=1MiB"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
