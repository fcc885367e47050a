"""What a name gets is durable before the name changes, and all of it before a copy says so.

The stages run in this process, so every call by which they write, sync, name and remove is seen, in
its order; a file system that keeps names at once and data when it is told to is thought of.
"""

import fcntl
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from datamover.monitor.supervisor import Monitor
from datamover.mover.copy import CopySettings, copy
from datamover.mover.report import Silent
from datamover.pipe.spec import Mode
from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = pytest.mark.slow

WAYS = {
    "kernel": {},
    "buffers": {"through_buffers": True},
    "whole": {"through_buffers": True, "delta_from": 0},
}


class Inline(Monitor):
    """A monitor that runs every stage in the calling thread."""

    def warm_up(self):
        pass

    def start(self, spec, **more):
        return super().start(replace(spec, mode=Mode.INLINE), **more)


@dataclass
class Disk:
    """What would be on a disk that loses all data that was not synced.

    Attributes:
        dirty: Inodes with data, or a size, that is not durable; by their first write.
        holes: Those that may have their size before their data.
        renamed: Names that changed since the last sync of all.
        wrong: What broke the rule.
        syncs: How often all was synced.
        flushed: How often one file was.
    """

    dirty: set = field(default_factory=set)
    holes: set = field(default_factory=set)
    renamed: int = 0
    wrong: list = field(default_factory=list)
    syncs: int = 0
    flushed: int = 0

    def wrote(self, file):
        if self._is_there(file):
            self.dirty.add(os.fstat(file).st_ino)

    def sized(self, file, size):
        there = os.fstat(file)
        if not self._is_there(file):
            return
        if size > there.st_size:
            self.holes.add(there.st_ino)
        if size != there.st_size:
            self.dirty.add(there.st_ino)

    def flush(self, file):
        self.flushed += 1
        self._clean({os.fstat(file).st_ino})

    def sync(self):
        self.syncs += 1
        self.renamed = 0
        self._clean(set(self.dirty))

    def _is_there(self, file):
        """Whether it is one of the destination's; a pipe has other files, in memory."""
        return "/dst/" in os.readlink(f"/proc/self/fd/{file}")

    def _clean(self, found):
        self.dirty -= found
        self.holes -= found

    def names(self, old, new, old_at, new_at):
        self.renamed += 1
        inode = os.stat(old, dir_fd=old_at, follow_symlinks=False).st_ino
        try:
            os.stat(new, dir_fd=new_at, follow_symlinks=False)
        except FileNotFoundError:
            if inode in self.holes:
                self.wrong.append(f"{new!r} is new, of its size and without its data")
        else:
            if inode in self.dirty:
                self.wrong.append(f"{new!r} has lost what it had, and not got what it gets")

    def removes(self, name):
        if self.dirty and not name.startswith(b".datamover-"):
            self.wrong.append(f"{name!r} goes before what was written is durable")


@pytest.fixture
def disk(monkeypatch):
    """Note what is done to files, by whatever way."""
    found = Disk()

    def noting(module, name, note, *, after=False):
        real = getattr(module, name)

        def call(*given, **more):
            if not after:
                note(*given, **more)
            answer = real(*given, **more)
            if after:
                note(*given, **more)
            return answer

        monkeypatch.setattr(module, name, call)

    for name in ("pwrite", "pwritev", "sendfile"):
        noting(os, name, lambda file, *_: found.wrote(file))
    noting(os, "copy_file_range", lambda _, file, *__: found.wrote(file))
    noting(fcntl, "ioctl", lambda file, *_: found.wrote(file))
    noting(os, "ftruncate", found.sized)
    noting(os, "fsync", found.flush, after=True)
    noting(
        os, "rename", lambda old, new, *, src_dir_fd, dst_dir_fd:
        found.names(old, new, src_dir_fd, dst_dir_fd),
    )  # fmt: skip
    noting(os, "unlink", lambda name, dir_fd=-1: dir_fd < 0 or found.removes(name))
    sync = "datamover.files.destination.sync_file_system"
    monkeypatch.setattr(sync, lambda _: found.sync())
    monkeypatch.setattr("datamover.mover.copy.Monitor", Inline)
    return found


@pytest.fixture
def trees(tmp_path):
    """A source, and an older version of it at the destination."""
    random = Random(3)
    src, dst = make_tree(tmp_path / "src", 4, files=30, large=100_000), tmp_path / "dst"
    (src / "large").write_bytes(random.randbytes(9 << 20))
    (src / "edited").write_bytes(random.randbytes(9 << 20))
    shutil.copytree(src, dst, symlinks=True, ignore=lambda *_: ["special"])
    for folder, _, names in os.walk(dst):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode) and random.random() < 0.7:
                path.chmod(0o600)
                path.write_bytes(b"older" * random.randrange(1000))
    old = bytearray((src / "edited").read_bytes())
    old[1 << 20 : 2 << 20] = bytes(1 << 20)
    (dst / "edited").write_bytes(old)
    # New versions of files with several names, and of one with holes.
    (dst / "special").mkdir()
    (dst / "special" / "sparse").write_bytes(b"older")
    (dst / "moved").write_text("is under another name now")
    return src, dst


def run(trees, **settings):
    src, dst = trees
    return copy([f"{src}/"], str(dst), CopySettings(delete=True, jobs=1, **settings), Silent())


@pytest.mark.parametrize("way", WAYS)
def test_no_name_changes_before_what_it_gets_is_durable(trees, disk, way):
    run(trees, **WAYS[way])

    assert disk.wrong == []
    assert disk.dirty == set()
    assert disk.renamed == 0
    assert_same_tree(*trees)
    # Long files one by one, all others together.
    assert disk.flushed == 2
    assert 2 <= disk.syncs <= 8


@pytest.mark.parametrize("way", WAYS)
def test_who_does_not_ask_for_it_does_not_wait_for_the_disk(trees, disk, way):
    """And so the rule of the test above is seen to be broken."""
    run(trees, **WAYS[way], sync=False)

    assert disk.syncs == disk.flushed == 0
    kinds = {one.split("'")[-1] for one in disk.wrong}
    assert len(kinds) >= 2, disk.wrong


@pytest.mark.parametrize("way", WAYS)
def test_new_names_cost_no_sync_but_the_last(tmp_path, disk, way):
    src = tmp_path / "src"
    src.mkdir()
    for number in range(50):
        (src / f"file-{number}").write_bytes(b"%d" % number * 1000)
    copy([f"{src}/"], str(tmp_path / "dst"), CopySettings(jobs=1, **WAYS[way]), Silent())

    assert disk.wrong == []
    assert (disk.syncs, disk.flushed) == (1, 0)


@pytest.mark.parametrize("way", WAYS)
def test_what_waits_is_bounded(trees, disk, way, monkeypatch):
    monkeypatch.setattr("datamover.files.handover._MOST", 4)
    run(trees, **WAYS[way])

    assert disk.wrong == []
    assert disk.syncs > 8
    assert_same_tree(*trees)


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("way", WAYS)
def test_a_disk_that_cannot_keep_it_leaves_the_old_names(trees, way, monkeypatch):
    _, dst = trees
    before = {path: path.read_bytes() for path in dst.rglob("file-*")}

    def fails(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("datamover.files.destination.sync_file_system", fails)
    with pytest.raises(Exception, match="Input/output error"):
        run(trees, **WAYS[way])

    assert before
    assert {path: path.read_bytes() for path in before} == before
    assert not list(dst.rglob(".datamover-*.part"))
