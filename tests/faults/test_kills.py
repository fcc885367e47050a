"""kill -9 of any task at any moment: it is named, nothing is left, and nothing that was is lost.

DATAMOVER_KILLS says how many seeded kills; a failure repeats with its seed.
"""

import faulthandler
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from datamover.catalog.rows import ArchiveState
from datamover.codec.codec import Codec
from datamover.mover.pipes import writing
from datamover.mover.store import Store
from datamover.pipe.spec import StageSpec
from datamover.testing.chaos import Observation, Plan, complaints, kills, leftovers, observe, strike
from datamover.testing.job import Job
from datamover.testing.program import Program
from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

KILLS = kills()
# A store outlives so many deaths, and so many stores are under way at once; after each of so many
# deaths everything is read by commands, and compared byte for byte.
SEEDS, LANES, WHOLE = 5, 2, 10
# After one of so many deaths the same command goes on; after the others its remains are dropped.
RESUMED = 4
GROUPS = range(0, KILLS, SEEDS * LANES)
CHUNKS = ("--chunk-size", "1MiB")


def crews():
    """The stages of a backup that share a task, as its pipe has them."""
    spec, _ = writing(
        roots=(),
        excludes=(),
        one_file_system=False,
        codecs=[Codec.parse("zstd-1")],
        cipher="aes-256-gcm",
        key=bytes(32),
        archive=bytes(16),
        jobs=2,
        tail=StageSpec(use="discard"),
    )
    found = []
    for stage in spec.stages:
        if stage.joined:
            found[-1].append(stage.use)
        else:
            found.append([stage.use])
    return found


@dataclass(frozen=True)
class Scene:
    """What is killed over and over.

    Attributes:
        large: A source whose backup takes a while, to be killed in it.
        small: A source for the backup that comes after.
        store: A store with the archive "first", of ``small``.
        seen: What a clean backup of ``large`` looks like.
        hit: How often each task was killed, all seeds together.
    """

    large: Path
    small: Path
    store: Path
    seen: Observation
    hit: Counter

    def backup(self, store, name):
        return Program().command("backup", self.large, "--to", store, "--name", name, *CHUNKS)


@pytest.fixture(scope="module")
def scene(tmp_path_factory, make_store):
    root, program = tmp_path_factory.mktemp("scene"), Program()
    large = make_tree(root / "large", 11, files=40)
    small = make_tree(root / "small", 12, files=5, large=20_000)
    random = Random(13)
    for number in range(24):
        (large / f"noise-{number}").write_bytes(random.randbytes(1 << 20))
    store = make_store(root / "store")
    program.backup(small, store, name="first").check(0)
    scene = Scene(large, small, store, Observation(lives={}, grown=0), Counter())
    observed = shutil.copytree(store, root / "observed")
    seen = observe(scene.backup(observed, "seen"), grows=observed, environment=program.environment)
    assert len(seen.names) >= 5, seen
    return Scene(large, small, store, seen, Counter())


def archives(store):
    """Each archive, its state and its name; nothing else may be in the store."""
    with Store.open(store, lambda: b"correct") as opened:
        known = opened.catalog.map.archives()
        chunks = {one.name for record in known for one in opened.catalog.map.chunks(record.id)}
        states = {record.state for record in known}
        names = sorted(opened.label(record).name for record in known)
    assert leftovers(store) == []
    assert {path.name for path in (store / "chunks").iterdir()} == chunks
    assert states == {ArchiveState.COMPLETE}
    return names


def durable(store):
    """Unfinished archives, and the chunk files of them."""
    with Store.open(store, lambda: b"correct") as opened:
        unfinished = opened.catalog.map.archives(ArchiveState.INCOMPLETE)
        files = [
            path
            for record in unfinished
            for path in (store / "chunks").glob(f"{record.id.hex()}-*.dmc")
        ]
        return unfinished, {path.name: path.stat().st_size for path in files}


def go_on(command, store, program):
    """The same command again: it sends what was not durable, and nothing else."""
    unfinished, before = durable(store)
    ended = Job(command, environment=program.environment).wait().check(0)
    (summary,) = [one for one in ended.events if one.get("event") == "summary"]
    after = {path.name: path.stat().st_size for path in (store / "chunks").iterdir()}

    assert before.items() <= after.items()
    assert summary.get("bytes_taken_over", 0) == sum(before.values())
    if before:
        assert summary["archive"] == unfinished[0].id.hex()
        assert summary["attempt"] == 1


def forget(store):
    """Drop what a command left that nobody goes on with."""
    with Store.open(store, lambda: b"correct") as opened:
        for record in durable(store)[0]:
            opened.depot.drop(record)


def kill_and_go_on(seed, scene, store, verified, into):
    """One death, and everything that must still be true after it."""
    before, plan, program = archives(store), Plan.draw(seed, scene.seen), Program()
    # The lanes' stores are copies of one, so only a state of its own tells their journals apart.
    program.environment = {**program.environment, "DATAMOVER_STATE": f"{store}-state"}
    command, killed = scene.backup(store, f"killed-{seed}"), f"killed-{seed}"
    struck = strike(command, plan, grows=store, environment=program.environment)
    told = f"seed {seed}: {plan}"

    assert complaints(struck, crews=crews()) == [], told
    if struck.task is not None:
        scene.hit[struck.task.name] += 1
    goes_on = seed % RESUMED == 0 and struck.ended.status != 0
    if goes_on:
        go_on(command, store, program)
        survived = [killed]
        following = []
    else:
        forget(store)
        following = [f"next-{seed}"]
        program.backup(scene.small, store, name=following[0]).check(0)
        # A death at the very end may come too late to matter; then the archive must be whole.
        survived = [killed] if killed in archives(store) else []
    after = archives(store)
    assert after == sorted([*before, *survived, *following]), told
    assert survived or struck.ended.status != 0, told
    assert verified(store) == [], told
    if seed % WHOLE == WHOLE - 1 or survived:
        program.run("verify", store).check(0)
        for name, source in (("first", scene.small), *((one, scene.large) for one in survived)):
            program.restore(store, into, name).check(0)
            assert_same_tree(source, into / source.name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", GROUPS)
def test_a_backup_survives_the_death_of_a_task(first, scene, verified, tmp_path):
    """Two stores side by side, each through some deaths one after the other."""
    # What it would write after 50 s reads the frames of running threads, and may crash on them.
    faulthandler.cancel_dump_traceback_later()

    def live(lane):
        store = Path(shutil.copytree(scene.store, tmp_path / f"store-{lane}"))
        begin = first + lane * SEEDS
        for seed in range(begin, min(begin + SEEDS, KILLS)):
            kill_and_go_on(seed, scene, store, verified, tmp_path / f"into-{lane}")

    with ThreadPoolExecutor(LANES) as pool:
        for _ in pool.map(live, range(LANES)):
            pass


def test_every_task_was_killed(scene):
    """Runs after the deaths: with enough of them none may have been spared."""
    if not scene.hit:
        pytest.skip("the deaths were not asked for")

    assert sum(scene.hit.values()) >= KILLS // 2, scene.hit
    if 10 * len(scene.seen.names) <= KILLS:
        assert set(scene.hit) == set(scene.seen.names), scene.hit


@pytest.fixture(scope="module")
def seen_restore(world, tmp_path_factory):
    program, into = Program(), tmp_path_factory.mktemp("seen") / "into"
    command = program.command("restore", "--from", world.store, "--to", into)
    seen = observe(command, grows=into, environment=program.environment)
    assert len(seen.names) >= 3, seen
    return seen


@pytest.mark.parametrize("seed", range(max(2, KILLS // 10)))
def test_a_restore_survives_the_death_of_a_task(seed, world, program, seen_restore, tmp_path):
    into = tmp_path / "into"
    plan = Plan.draw(seed, seen_restore)
    command = program.command("restore", "--from", world.store, "--to", into)
    struck = strike(command, plan, grows=tmp_path, environment=program.environment)

    assert complaints(struck, crews=[("decrypt", "expand", "verify")]) == [], plan
    shutil.rmtree(into, ignore_errors=True)
    program.restore(world.store, into).check(0)
    assert_same_tree(world.source, into / world.source.name)


def test_the_death_of_the_command_itself_ends_its_tasks(world, store, program, tmp_path):
    plan = Plan(name="main", after_bytes=1 << 20, after_s=0)
    command = program.command("backup", world.source, "--to", store)
    struck = strike(command, plan, grows=store, environment=program.environment)

    assert struck.ended.status == -9
    assert struck.ended.left == ()
    go_on(command, store, program)
    assert leftovers(store) == []
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(world.source, tmp_path / "into" / world.source.name)
