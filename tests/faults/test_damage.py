"""A store whose files were broken: found, located, and everything else comes back.

Every single bit of a chunk is flipped in ``test_flipped_bits``.
"""

import os
import shutil
from random import Random

import pytest

from datamover.cli.app import run as run_here
from datamover.cli.problem import Problem
from datamover.errors import DataMoverError
from datamover.testing.program import Program
from datamover.testing.trees import assert_same_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

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


def status_here(command):
    """The status of a command that is run in this process."""
    try:
        return run_here([str(word) for word in (*command, "--json")])
    except (DataMoverError, OSError) as error:
        return Problem.of(error).status


@pytest.mark.parametrize("harm", HARMS)
def test_any_broken_file_is_said_in_order(harm, world, tmp_path, program, inline, monkeypatch):  # noqa: ARG001
    """One of each kind of file that a store has, each broken alone.

    Every command is run in this process, and one, in turn, as processes.
    """
    for name, value in program.environment.items():
        monkeypatch.setenv(name, value)
    kinds = {}
    for path in sorted(p for p in world.store.rglob("*") if p.is_file()):
        kinds.setdefault((path.parent.name, path.suffix), path.relative_to(world.store))
    assert len(kinds) > 1
    turn = list(HARMS).index(harm)
    for number, name in enumerate(kinds.values()):
        store = world.copy(tmp_path / str(number))
        HARMS[harm](store / name)
        commands = (
            ("verify", store),
            ("restore", "--from", store, "--to", tmp_path / str(number) / "into"),
            ("archives", store),
            ("info", store),
            ("backup", world.source / "plain", "--to", store),
        )
        if turn % len(kinds) == number:
            program.run(*commands[turn % len(commands)]).check(*ORDERLY)
        for command in commands:
            assert status_here(command) in ORDERLY, (name, command)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, make_store):
    """Ten small and ten large files with plain names, in several chunks of 4 MiB."""
    root = tmp_path_factory.mktemp("plain")
    source, store, random = root / "source", make_store(root / "store"), Random(6)
    source.mkdir()
    for number in range(10):
        (source / f"{number}-large").write_bytes(random.randbytes(1_400_000 + number))
        (source / f"{number}-small").write_bytes(b"small %d " % number * 100)
    Program().run("backup", source, "--to", store, "--chunk-size", "4MiB").check(0)
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
    assert len(different) <= 8  # a chunk of 4 MiB holds parts of three or four large ones


@pytest.mark.parametrize("seed", range(4))
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
    assert len(different) <= 8  # a block of 4 MiB holds parts of four large ones


def test_an_undamaged_store_gives_no_alarm(world, store, tmp_path, program):
    ended = program.run("verify", store).check(0)

    assert damage(ended) == []
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(world.source, tmp_path / "into" / world.source.name)
