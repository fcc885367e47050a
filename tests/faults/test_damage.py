"""A store whose bytes were changed: found, located, and everything else comes back."""

import os
import shutil
from random import Random

import pytest

from datamover.testing.program import Program
from datamover.testing.trees import assert_same_tree, tree_differences

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

# How many rounds of flipped bits; 0 stands for every bit.
ROUNDS = int(os.environ.get("DATAMOVER_FLIPS", "1"))
DAMAGED = (3, 65)
# Whatever is broken, it must be said in order: never "internal" (70), never a traceback.
ORDERLY = (0, 3, 65, 66, 73, 74, 77)


def chunks(store):
    return sorted((store / "chunks").iterdir())


def notices(ended, *kinds):
    found = [event for event in ended.events if event.get("event") == "notice"]
    return [event["given"] for event in found if event["kind"] in kinds]


def flip(path, bit):
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def contents(store):
    return {
        path.relative_to(store): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and "-wal" not in path.name and "-shm" not in path.name
    }


@pytest.mark.parametrize("passphrase", ["wrong", "", None])
def test_a_wrong_passphrase_opens_nothing_and_changes_nothing(passphrase, world, store, tmp_path):
    before, stranger = contents(store), Program(passphrase=passphrase)
    for command in (
        ("backup", world.source, "--to", store),
        ("restore", "--from", store, "--to", tmp_path / "into"),
        ("verify", store),
    ):
        ended = stranger.run(*command).check(77)
        assert ended.code == "security.passphrase"
        assert world.source.name not in ended.stdout

    assert contents(store) == before
    assert not (tmp_path / "into").exists() or not any((tmp_path / "into").iterdir())


HARMS = {
    "garbage": lambda path: path.write_bytes(Random(1).randbytes(path.stat().st_size)),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
    "longer": lambda path: path.open("ab").write(b"more"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("harm", HARMS)
def test_any_broken_file_is_said_in_order(harm, world, tmp_path, program):
    """One of each kind of file that a store has, each broken alone."""
    kinds = {}
    for path in sorted(p for p in world.store.rglob("*") if p.is_file()):
        kinds.setdefault((path.parent.name, path.suffix), path.relative_to(world.store))
    assert len(kinds) > 1
    for number, name in enumerate(kinds.values()):
        store = world.copy(tmp_path / str(number))
        HARMS[harm](store / name)
        for command in (
            ("verify", store),
            ("restore", "--from", store, "--to", tmp_path / str(number) / "into"),
            ("archives", store),
            ("info", store),
            ("backup", world.source / "plain", "--to", store),
        ):
            program.run(*command).check(*ORDERLY)


@pytest.mark.parametrize("harm", ["garbage", "zeros", "cut", "empty", "gone"])
def test_a_broken_chunk_costs_only_what_was_in_it(harm, world, tmp_path, program):
    # Small chunks, so that the archive has several and most of them live.
    store = tmp_path / "store"
    program.run("init", store).check(0)
    program.run("backup", world.source, "--to", store, "--chunk-size", "2MiB").check(0)
    names = chunks(store)
    assert len(names) >= 3
    HARMS[harm](names[1])

    ended = program.run("verify", store).check(*DAMAGED)
    told = notices(ended, "damaged", "missing")
    assert {one["chunk"] for one in told if "chunk" in one} == {1}
    affected = {str(one["path"]) for one in told if "path" in one}
    assert affected, told

    program.restore(store, tmp_path / "into").check(*DAMAGED)
    different = tree_differences(
        world.source, tmp_path / "into" / world.source.name, metadata=False
    )
    assert different
    strangers = [line for line in different if not any(name_in(a, line) for a in affected)]
    assert strangers == [], affected


def name_in(path, difference):
    return path.split("/", 1)[-1].encode().decode("unicode_escape") in difference or (
        path.split("/", 1)[-1] in difference
    )


@pytest.fixture(scope="module")
def crumbs(tmp_path_factory):
    """A store of many tiny chunks: what compresses to nothing, a block a chunk."""
    root = tmp_path_factory.mktemp("crumbs")
    source, store, program = root / "source", root / "store", Program()
    source.mkdir()
    with (source / "large").open("wb") as file:
        for number in range(128):
            file.write(b"%03d" % number * ((1 << 20) // 3 + 1))
    for number in range(20):
        (source / f"small-{number}").write_bytes(b"small %d" % number * 100)
    program.run("init", store).check(0)
    program.run("backup", source, "--to", store, "--chunk-size", "4KiB").check(0)
    return source, store


def rounds(paths):
    """Every bit, one a chunk a round; or a few rounds drawn from a seed."""
    bits = max(path.stat().st_size for path in paths) * 8
    every = range(-(-bits // len(paths)))
    return every if ROUNDS == 0 else sorted(Random(5).sample(every, min(ROUNDS, len(every))))


@pytest.mark.timeout(3600 if ROUNDS == 0 else 60)
def test_every_flipped_bit_is_found_and_its_chunk_is_named(crumbs, tmp_path, program):
    """Each chunk has another bit flipped, so that one run looks at many."""
    _, store = crumbs
    assert len(chunks(store)) >= 32
    for number in rounds(chunks(store)):
        copy = tmp_path / "copy"
        shutil.copytree(store, copy)
        paths, flipped = chunks(copy), set()
        for index, path in enumerate(paths):
            bit = number * len(paths) + index
            if bit < path.stat().st_size * 8:
                flip(path, bit)
                flipped.add(int(path.stem.rpartition("-")[2], 16))
        ended = program.run("verify", copy).check(*DAMAGED)
        found = {one["chunk"] for one in notices(ended, "damaged", "missing") if "chunk" in one}

        assert found == flipped, f"round {number}"
        shutil.rmtree(copy)


@pytest.mark.parametrize("seed", range(max(4, ROUNDS)))
def test_after_one_flipped_bit_all_other_files_come_back(seed, world, store, tmp_path, program):
    random = Random(seed)
    path = random.choice(chunks(store))
    flip(path, random.randrange(path.stat().st_size * 8))
    ended = program.run("verify", store).check(*DAMAGED)
    affected = {str(one["path"]) for one in notices(ended, "damaged", "missing") if "path" in one}

    program.restore(store, tmp_path / "into").check(0, *DAMAGED)
    restored = tmp_path / "into" / world.source.name
    different = tree_differences(world.source, restored, metadata=False)
    assert [line for line in different if not any(name_in(a, line) for a in affected)] == []


def test_an_undamaged_store_gives_no_alarm(world, store, tmp_path, program):
    ended = program.run("verify", store).check(0)

    assert notices(ended, "damaged", "missing") == []
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(world.source, tmp_path / "into" / world.source.name)
