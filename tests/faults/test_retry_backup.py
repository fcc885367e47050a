"""A backup whose workers are killed is a backup like any other, and says that it replaced them."""

import time
from random import Random

import pytest

from datamover.testing.chaos import kills
from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

MIB = 1 << 20
RUNS = max(2, kills() // 40)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """48 MiB, of which half gets small and half is encrypted as it is, in a copy."""
    root = make_tree(tmp_path_factory.mktemp("retry") / "source", 7, files=60)
    random = Random(8)
    for number in range(12):
        (root / f"noise-{number}").write_bytes(random.randbytes(2 * MIB))
        line = b"%d line of text %d\n"
        (root / f"text-{number}").write_bytes(b"".join(line % (i, i * i) for i in range(80_000)))
    return root


def grown(store):
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


@pytest.mark.parametrize("seed", range(RUNS))
def test_killed_workers_cost_a_backup_nothing(seed, source, make_store, program, tmp_path):
    store = make_store(tmp_path / "store")
    random, killed = Random(seed), 0
    job = program.start("backup", source, "--to", store, "--name", "a", "--jobs", "2")
    due = grown(store) + 1
    while job.is_running() and killed < 6:
        try:
            done = grown(store)
        except FileNotFoundError:  # moved while it was looked at
            continue
        if done < due:
            continue
        # By turns: killed over and over the same block, a worker would blame the block.
        task = job.wait_task(f"dm:checksum.{killed % 2}", timeout=20)
        killed += task is not None and job.kill(task)
        due = done + random.randrange(4 * MIB, 8 * MIB)
    ended = job.wait(timeout=60).check(0)
    notices = [event for event in ended.events if event.get("event") == "notice"]
    (summary,) = (event for event in ended.events if event.get("event") == "summary")

    assert killed > 0
    assert {event["kind"] for event in notices} == {"respawned"}
    assert 0 < len(notices) <= killed
    assert summary["notices_respawned"] == len(notices)
    program.run("verify", store).check(0)
    program.restore(store, tmp_path / "into").check(0)
    assert_same_tree(source, tmp_path / "into" / source.name)


def test_two_archives_of_one_source_hold_the_same_although_one_lost_its_workers(
    source, make_store, program, tmp_path
):
    """Bytes in, files and blocks: the summary of the one is that of the other."""
    told = []
    for name in ("plain", "killed"):
        store = make_store(tmp_path / name)
        job = program.start("backup", source, "--to", store, "--name", "a", "--jobs", "1")
        if name == "killed":
            before = grown(store)
            while job.is_running() and grown(store) == before:
                time.sleep(0.01)
            task = job.wait_task("dm:checksum.0", timeout=20)
            assert job.kill(task)
        ended = job.wait(timeout=60).check(0)
        (summary,) = (event for event in ended.events if event.get("event") == "summary")
        told.append(
            {key: summary[key] for key in ("files", "directories", "bytes_in", "bytes_out")}
        )

    assert told[0] == told[1]
