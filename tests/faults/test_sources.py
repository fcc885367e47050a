"""Source files that cannot be read, or change while they are: reported, and the rest is saved."""

import os
import shutil
import threading
import time
from random import Random

import pytest

from datamover.testing.program import Program
from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

FOUND = {"unreadable", "vanished", "changed", "shrunk", "grown"}
# Root without the two capabilities that let it read everything is like anybody else.
POWERS = "-dac_override,-dac_read_search"
ORDINARY = ("setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}")


def ordinary():
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and setpriv is not there to hinder it")
    return Program(prefix=ORDINARY if os.geteuid() == 0 else ())


def kinds(ended):
    return {event["kind"] for event in ended.events if event.get("event") == "notice"}


def paths(ended):
    given = [event["given"] for event in ended.events if event.get("event") == "notice"]
    return {os.path.basename(str(one.get("path", ""))) for one in given}


@pytest.fixture
def store(tmp_path, make_store):
    return make_store(tmp_path / "store")


def test_what_cannot_be_read_is_reported_and_the_rest_is_saved(tmp_path, store):
    source = make_tree(tmp_path / "source", 5, files=10, large=10_000)
    for at, folders, files in os.walk(source):
        for name in (".", *folders, *files):  # what belongs to others may be closed as well
            os.chown(os.path.join(at, name), os.geteuid(), os.getegid(), follow_symlinks=False)
    (source / "secret").write_bytes(b"hidden")
    (source / "closed").mkdir()
    (source / "closed" / "inside").write_bytes(b"hidden")
    (source / "secret").chmod(0)
    (source / "closed").chmod(0)
    program = ordinary()
    ended = program.backup(source, store).check(3)

    assert kinds(ended) == {"unreadable"}
    assert paths(ended) == {"closed", "secret"}
    restored = tmp_path / "into" / "source"
    # What was never saved cannot come back, and a restore that says so again is as good.
    Program().restore(store, tmp_path / "into").check(0, 3)
    assert not (restored / "secret").exists() or not (restored / "secret").read_bytes()
    for tree in (source, restored):
        (tree / "secret").unlink(missing_ok=True)
        shutil.rmtree(tree / "closed", ignore_errors=True)
        os.utime(tree, ns=(0, 0))
    assert_same_tree(source, restored)


def test_a_source_that_is_not_there_is_an_error(tmp_path, store, program):
    ended = program.backup(tmp_path / "nowhere", store)

    ended.check(66)
    assert ended.code == "source"


def large_file(path):
    with path.open("wb") as file:
        for _ in range(96):
            file.write(os.urandom(1 << 20))


def stored(store):
    return sum(p.stat().st_size for p in store.rglob("*") if p.is_file())


def shrink(path):
    os.truncate(path, 1000)


def change(path):
    with path.open("r+b") as file:
        file.write(b"other bytes")


def grow(path):
    with path.open("ab") as file:
        file.write(b"more bytes")


@pytest.mark.parametrize("harm", [shrink, change, grow])
def test_a_file_that_changes_while_it_is_read_is_reported(tmp_path, store, program, harm):
    source = tmp_path / "source"
    make_tree(source / "calm", 6, files=10, large=10_000)
    large_file(source / "large")
    job = program.start("backup", source, "--to", store)
    while stored(store) < 4 << 20 and job.is_running():
        time.sleep(0.001)
    harm(source / "large")
    ended = job.wait().check(3)

    assert kinds(ended) <= FOUND
    assert paths(ended) == {"large"}
    program.run("verify", store).check(0)
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(source / "calm", tmp_path / "into" / "source" / "calm")


class Mutator(threading.Thread):
    """Removes, makes, cuts and rewrites files of a folder until it is told to stop."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self._folder, self._random, self.stop = folder, Random(8), threading.Event()

    def run(self):
        while not self.stop.is_set():
            path = self._folder / str(self._random.randrange(400))
            match self._random.randrange(4):
                case 0:
                    path.unlink(missing_ok=True)
                case 1:
                    path.write_bytes(b"n" * self._random.randrange(200_000))
                case 2 if path.exists():
                    os.truncate(path, path.stat().st_size // 2)
                case _:
                    path.rename(path.with_name("moved")) if path.exists() else path.touch()


def test_a_tree_that_never_rests_is_saved_as_far_as_it_can_be(tmp_path, store, program):
    source = tmp_path / "source"
    make_tree(source / "calm", 7, files=20, large=100_000)
    (source / "busy").mkdir()
    for number in range(400):
        (source / "busy" / str(number)).write_bytes(b"o" * 100_000)
    mutator, found = Mutator(source / "busy"), set()
    mutator.start()
    try:
        for _ in range(10):
            ended = program.backup(source, store).check(0, 3)
            assert (ended.status == 3) == bool(kinds(ended))
            found |= kinds(ended)
            if len(found) > 1:
                break
        reported = paths(ended)
    finally:
        mutator.stop.set()
        mutator.join()

    assert found <= FOUND
    assert found, "nothing changed under ten backups: this proves nothing"
    program.run("verify", store).check(0)
    restored = program.restore(store, tmp_path / "into").check(0, 3)
    assert paths(restored) <= reported
    assert_same_tree(source / "calm", tmp_path / "into" / "source" / "calm")
