"""A disk that is full at any write: an error that says so, and nothing lost that was complete."""

import os
import shutil

import pytest

from datamover.testing.chaos import leftovers
from datamover.testing.trees import assert_same_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

STEPS = int(os.environ.get("DATAMOVER_FULL", "6"))
PAGE = 4096


def size_of(folder):
    return sum(
        os.lstat(os.path.join(at, name)).st_size
        for at, _, names in os.walk(folder)
        for name in names
    )


@pytest.fixture(scope="module")
def second(world, program_of_module, tmp_path_factory):
    """Bytes that a second backup adds to the store."""
    store = world.copy(tmp_path_factory.mktemp("second"))
    before = size_of(store)
    program_of_module.backup(world.source, store).check(0)
    return size_of(store) - before


@pytest.fixture(scope="module")
def program_of_module():
    from datamover.testing.program import Program

    return Program()


@pytest.mark.parametrize("step", range(STEPS))
def test_a_full_disk_is_an_error_that_says_so(step, world, second, disk, program, tmp_path):
    store = disk.path / "store"
    shutil.copytree(world.store, store, symlinks=True)
    # From no room at all to just too little, a page aside so that every kind of write is met.
    disk.leave(second * step // STEPS // PAGE * PAGE + step % 3 * PAGE)
    ended = program.backup(world.source, store, name="full")

    ended.check(74)
    assert ended.code == "media.full", ended.error
    assert ended.error["hint"]
    disk.free()
    program.run("verify", store, "first").check(0)
    program.backup(world.source, store, name="after").check(0)
    assert leftovers(store) == []
    program.run("verify", store).check(0)
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(world.source, tmp_path / "into" / world.source.name)


def test_a_full_disk_can_still_be_read(world, disk, program, tmp_path):
    store = disk.path / "store"
    shutil.copytree(world.store, store, symlinks=True)
    disk.leave(0)

    program.run("verify", store).check(0)
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(world.source, tmp_path / "into" / world.source.name)


def test_a_restore_to_a_full_disk_says_so(world, disk, program):
    disk.leave(2 << 20)
    ended = program.restore(world.store, disk.path / "into")

    assert ended.status not in {0, 70}, ended
    ended.check(ended.status)
    assert "no space" in (ended.stderr + ended.stdout).lower()
