"""kill -9 of any task at any moment: it is named, nothing is left, and nothing that was is lost.

DATAMOVER_KILLS says how many seeded kills; a failure repeats with its seed.
"""

import os
import shutil

import pytest

from datamover.testing.chaos import Plan, complaints, leftovers, observe, strike
from datamover.testing.trees import assert_same_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

KILLS = int(os.environ.get("DATAMOVER_KILLS", "8"))


@pytest.fixture(scope="module")
def seen_backup(world, tmp_path_factory):
    """What a clean backup into a copy of the store looks like."""
    from datamover.testing.program import Program

    program, store = Program(), world.copy(tmp_path_factory.mktemp("seen"))
    command = program.command("backup", world.source, "--to", store)
    seen = observe(command, grows=store, environment=program.environment)
    assert len(seen.names) >= 5, seen
    return seen


@pytest.fixture(scope="module")
def seen_restore(world, tmp_path_factory):
    from datamover.testing.program import Program

    program, into = Program(), tmp_path_factory.mktemp("seen") / "into"
    command = program.command("restore", "--from", world.store, "--to", into)
    seen = observe(command, grows=into, environment=program.environment)
    assert len(seen.names) >= 3, seen
    return seen


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_backup_survives_the_death_of_a_task(seed, world, store, program, seen_backup, tmp_path):
    plan = Plan.draw(seed, seen_backup)
    command = program.command("backup", world.source, "--to", store, "--name", "killed")
    struck = strike(command, plan, grows=store, environment=program.environment)

    assert complaints(struck) == [], plan
    program.backup(world.source, store, name="next").check(0)
    assert leftovers(store) == []
    program.run("verify", store).check(0)
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(world.source, tmp_path / "into" / world.source.name)


@pytest.mark.parametrize("seed", range(max(1, KILLS // 4)))
def test_a_restore_survives_the_death_of_a_task(seed, world, program, seen_restore, tmp_path):
    into = tmp_path / "into"
    plan = Plan.draw(seed, seen_restore)
    command = program.command("restore", "--from", world.store, "--to", into)
    struck = strike(command, plan, grows=tmp_path, environment=program.environment)

    assert complaints(struck) == [], plan
    shutil.rmtree(into, ignore_errors=True)
    program.restore(world.store, into).check(0)
    assert_same_tree(world.source, into / world.source.name)


def test_the_death_of_the_command_itself_ends_its_tasks(world, store, program, tmp_path):
    plan = Plan(name="main", after_bytes=1 << 20, after_s=0)
    command = program.command("backup", world.source, "--to", store)
    struck = strike(command, plan, grows=store, environment=program.environment)

    assert struck.ended.status == -9
    assert struck.ended.left == ()
    program.backup(world.source, store).check(0)
    assert leftovers(store) == []
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(world.source, tmp_path / "into" / world.source.name)
