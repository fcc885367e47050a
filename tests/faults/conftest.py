"""A small store with one complete archive, made once and copied for every test that harms it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from datamover.codec.keys import KdfParameters
from datamover.monitor.supervisor import Monitor
from datamover.mover.report import Silent
from datamover.mover.store import Store, create_store
from datamover.mover.verify import verify
from datamover.pipe.spec import Mode
from datamover.testing.program import Program
from datamover.testing.trees import make_tree


@dataclass(frozen=True)
class World:
    """A source, and a store that holds it as the archive "first"."""

    source: Path
    store: Path

    def copy(self, into: Path) -> Path:
        """Return a copy of the store that may be harmed."""
        return Path(shutil.copytree(self.store, into / "store", symlinks=True))


@pytest.fixture
def program():
    return Program()


@pytest.fixture(scope="session")
def make_store():
    """Makes an encrypted store whose passphrase costs no time: hundreds of commands open one."""

    def make(path):
        cheap = KdfParameters(salt=os.urandom(16), memory_kib=64, iterations=1, lanes=1)
        create_store(path, passphrase=b"correct", cipher="aes-256-gcm", kdf=cheap)
        return path

    return make


class Inline(Monitor):
    """A monitor that runs every stage in the calling thread, and no other process."""

    def warm_up(self):
        pass

    def start(self, spec, *, on_notice=None):
        return super().start(replace(spec, mode=Mode.INLINE), on_notice=on_notice)


class Heard(Silent):
    """Keeps what is told of damage."""

    def __init__(self):
        self.damage = []

    def notice(self, notice):
        if notice.kind in {"damaged", "missing"}:
            self.damage.append(notice.given)


@pytest.fixture
def inline(monkeypatch):
    """Let the use cases run in this process, with all their stages: a tenth of the time."""
    for name in ("backup", "restore", "verify"):
        monkeypatch.setattr(f"datamover.mover.{name}.Monitor", Inline)


@pytest.fixture
def heard():
    """Makes a watch that keeps what is told of damage."""
    return Heard


@pytest.fixture
def verified(inline):  # noqa: ARG001  it changes what verify runs in
    """Verify a whole store, here; return the facts of each damage."""

    def run(path):
        heard = Heard()
        with Store.open(path, lambda: b"correct") as store:
            verify(store, None, heard)
        return heard.damage

    return run


@pytest.fixture(scope="session")
def world(tmp_path_factory, make_store):
    """About 16 MiB: odd small files, noise that stays as large, and text that gets small."""
    root = tmp_path_factory.mktemp("world")
    source = make_tree(root / "source", 3, files=60)
    random = Random(4)
    noise = random.randbytes(1 << 20)
    for number in range(8):
        (source / f"noise-{number}").write_bytes(noise[number:] + noise[:number])
        (source / f"text-{number}").write_bytes(b"%d line of text\n" % number * 40_000)
    program, store = Program(), make_store(root / "store")
    program.backup(source, store, name="first").check(0)
    return World(source, store)


@pytest.fixture
def store(world, tmp_path):
    return world.copy(tmp_path)


@pytest.fixture
def disk(tmp_path):
    """A file system of 96 MiB of its own, and a way to leave it only so much room."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system to fill")
    place = tmp_path / "disk"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o size=96m tmpfs {place} 2>/dev/null") != 0:
        pytest.skip("this root may not mount")
    try:
        yield Disk(place)
    finally:
        os.system(f"umount -l {place}")


class Disk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def leave(self, room: int) -> None:
        """Fill it until only ``room`` bytes are free."""
        about = os.statvfs(self.path)
        size = about.f_bavail * about.f_frsize - room
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def free(self) -> None:
        self._ballast.unlink()
