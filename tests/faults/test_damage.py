"""A store whose bytes were changed: found, located, and everything else comes back."""

import os
import shutil
from random import Random

import pytest

from datamover.testing.program import Program
from datamover.testing.trees import assert_same_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

# How many rounds of flipped bits; 0 stands for every bit.
ROUNDS = int(os.environ.get("DATAMOVER_FLIPS", "1"))
DAMAGED = (3, 65)
# Whatever is broken, it must be said in order: never "internal" (70), never a traceback.
ORDERLY = (0, 3, 65, 66, 73, 74, 77)


def chunks(store):
    return sorted((store / "chunks").iterdir())


def damage(ended):
    """What was told of damage: the facts of each notice."""
    told = [event for event in ended.events if event.get("event") == "notice"]
    return [event["given"] for event in told if event["kind"] in {"damaged", "missing"}]


def damaged_chunks(ended):
    # Damage to a chunk's own records, which costs no block, comes with the file's "name".
    found = [one.get("chunk") or one.get("name") for one in damage(ended)]
    return {os.path.basename(str(name)) for name in found if name}


def affected(ended):
    """The names of the files that the damage costs; there are too few of them for "and more"."""
    names = [name for one in damage(ended) for name in str(one.get("paths", "")).split(", ")]
    return {os.path.basename(name) for name in names if name}


def differing(source, restored):
    return {
        path.name
        for path in source.iterdir()
        if not (restored / path.name).is_file()
        or (restored / path.name).read_bytes() != path.read_bytes()
    }


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
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
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


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Ten small and ten large files with plain names, in several chunks of 2 MiB."""
    root = tmp_path_factory.mktemp("plain")
    source, store, program, random = root / "source", root / "store", Program(), Random(6)
    source.mkdir()
    for number in range(10):
        (source / f"large-{number}").write_bytes(random.randbytes(700_000 + number))
        (source / f"small-{number}").write_bytes(b"small %d " % number * 100)
    program.run("init", store).check(0)
    program.run("backup", source, "--to", store, "--chunk-size", "2MiB").check(0)
    assert len(chunks(store)) >= 3
    return source, store


@pytest.mark.parametrize("harm", ["garbage", "zeros", "cut", "empty", "gone"])
def test_a_broken_chunk_costs_only_what_was_in_it(harm, plain, tmp_path, program):
    source, whole = plain
    store = tmp_path / "store"
    shutil.copytree(whole, store)
    victim = chunks(store)[1]
    HARMS[harm](victim)

    ended = program.run("verify", store).check(*DAMAGED)
    assert damaged_chunks(ended) == {victim.name}, damage(ended)
    assert affected(ended), damage(ended)
    program.restore(store, tmp_path / "into").check(*DAMAGED)
    different = differing(source, tmp_path / "into" / "source")
    assert different
    assert different <= affected(ended)
    assert len(different) <= 5


@pytest.fixture(scope="module")
def crumbs(tmp_path_factory):
    """A store of many tiny chunks: what compresses to nothing, a few blocks a chunk."""
    root = tmp_path_factory.mktemp("crumbs")
    source, store, program = root / "source", root / "store", Program()
    source.mkdir()
    with (source / "large").open("wb") as file:
        for number in range(128):
            file.write(b"%03d" % number * ((1 << 20) // 3 + 1))
    program.run("init", store).check(0)
    program.run("backup", source, "--to", store, "--chunk-size", "1KiB").check(0)
    return store


def victims(paths):
    """All but a few: one whole header of the archive must be left, as in any single damage."""
    return paths[4:]


def rounds(paths):
    """Every bit, one a chunk a round; or a few rounds drawn from a seed."""
    # All but the index are of one shape; past their end only that one would be left to flip.
    bits = sorted(path.stat().st_size for path in paths)[len(paths) // 2] * 8
    every = range(-(-bits // len(victims(paths))))
    return every if ROUNDS == 0 else sorted(Random(5).sample(every, min(ROUNDS, len(every))))


@pytest.mark.timeout(3600 if ROUNDS == 0 else 60)
def test_every_flipped_bit_is_found_and_its_chunk_is_named(crumbs, tmp_path, program):
    """Each chunk has another bit flipped, so that one run looks at many."""
    assert len(chunks(crumbs)) >= 32
    for number in rounds(chunks(crumbs)):
        copy = tmp_path / "copy"
        shutil.copytree(crumbs, copy)
        paths, flipped = victims(chunks(copy)), set()
        for index, path in enumerate(paths):
            bit = number * len(paths) + index
            if bit < path.stat().st_size * 8:
                flip(path, bit)
                flipped.add(path.name)
        ended = program.run("verify", copy).check(*DAMAGED)

        assert damaged_chunks(ended) == flipped, f"round {number}: {damage(ended)}"
        shutil.rmtree(copy)


@pytest.mark.parametrize("seed", range(max(3, ROUNDS)))
def test_after_one_flipped_bit_all_other_files_come_back(seed, plain, tmp_path, program):
    source, whole = plain
    store = tmp_path / "store"
    shutil.copytree(whole, store)
    random = Random(seed)
    victim = random.choice(chunks(store))
    flip(victim, random.randrange(victim.stat().st_size * 8))
    ended = program.run("verify", store).check(*DAMAGED)
    restored = program.restore(store, tmp_path / "into").check(0, *DAMAGED)
    different = differing(source, tmp_path / "into" / "source")

    assert damaged_chunks(ended) == {victim.name}
    assert different <= affected(ended)
    assert restored.status != 0 or not different
    assert len(different) <= 3  # a block of 1 MiB holds parts of three of them


def test_an_undamaged_store_gives_no_alarm(world, store, tmp_path, program):
    ended = program.run("verify", store).check(0)

    assert damage(ended) == []
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(world.source, tmp_path / "into" / world.source.name)
