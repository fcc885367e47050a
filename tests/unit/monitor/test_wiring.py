"""A pipe's kernel objects: every buffer in one queue at the start, and all of it given back."""

import os
import resource
from collections import Counter

import pytest

from datamover.monitor.supervisor import Monitor
from datamover.monitor.wiring import Wiring
from datamover.pipe.layout import lay_out
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.shm.segment import DESCRIPTOR
from datamover.testing.stages import copy, count, gather


def layout(instances: int = 2):
    return lay_out(
        PipeSpec(
            name="w",
            stages=[count.stage(), copy.stage(instances=instances), gather.stage()],
            buffers=4 * (1 + instances),
            buffer_size=64,
        )
    )


@pytest.fixture
def wiring():
    made = Wiring(layout())
    yield made
    made.close()


def test_the_free_queues_begin_with_every_buffer_once(wiring: Wiring) -> None:
    queued = {owner: [t.index for t in q.drain()] for owner, q in wiring.free.items()}

    assert queued == {0: [0, 1, 2, 3], 1: [4, 5, 6, 7], 2: [8, 9, 10, 11]}
    assert [queue.depth() for queue in wiring.queues] == [0, 0]


def test_each_descriptor_names_the_share_it_belongs_to(wiring: Wiring) -> None:
    table = wiring.segment.descriptors()
    allocators = [DESCRIPTOR.unpack_from(table, index * 64)[2] for index in range(12)]
    table.release()

    assert allocators == [0] * 4 + [1] * 4 + [2] * 4
    assert wiring.held() == Counter()


def test_the_output_of_a_stage_is_the_input_of_the_next(wiring: Wiring) -> None:
    facts = [wiring.facts(task).descriptors for task in wiring.layout.tasks]
    ends = [(d.input, d.output) for d in facts]
    first, second = wiring.queues

    assert ends == [
        (-1, first.writer),
        (first.reader, second.writer),
        (first.reader, second.writer),
        (second.reader, -1),
    ]
    assert [sorted(d.free) for d in facts] == [["0"], ["1"], ["2"], []]


def test_descriptors_keep_their_meaning_in_another_process(wiring: Wiring) -> None:
    for task in wiring.layout.tasks:
        mine = wiring.facts(task).descriptors
        theirs = mine.renumbered(iter([number + 100 for number in mine.numbers()]))

        assert theirs.numbers() == [number + 100 for number in mine.numbers()]
        assert theirs.release == {key: n + 100 for key, n in mine.release.items()}
        assert (theirs.input == -1) == (mine.input == -1)


def test_what_a_dead_task_had_received_is_found_and_what_it_allocated_is_not(
    wiring: Wiring,
) -> None:
    table = wiring.segment.descriptors()
    DESCRIPTOR.pack_into(table, 0, 1, 1, 0, 0, 9, 0, 0, 0)  # received from the head, number 9
    DESCRIPTOR.pack_into(table, 64, 1, 1, 0, 0, 7, 0, 0, 0)  # the same, number 7
    DESCRIPTOR.pack_into(table, 4 * 64, 1, 1, 1, 0, 0, 0, 0, 0)  # fresh
    DESCRIPTOR.pack_into(table, 2 * 64, 2, 1, 0, 0, 3, 0, 0, 0)  # sent
    table.release()

    assert wiring.held_by(1) == [7, 9]
    assert wiring.held() == Counter({1: 3})


def test_closing_twice_does_no_harm(wiring: Wiring) -> None:
    wiring.close()
    wiring.close()


@pytest.mark.parametrize("left", range(1, 24))
def test_a_system_without_descriptors_gets_all_of_them_back(left: int) -> None:
    # The autouse check of leaks is what this test is about.
    plan = layout(instances=4)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(number) for number in os.listdir("/proc/self/fd")}
    untaken = [number for number in range(len(taken) + left + 1) if number not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (untaken[left], hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            Wiring(plan)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.processes
def test_settings_beyond_a_message_arrive_all_the_same(tmp_path) -> None:
    (tmp_path / "wanted").touch()
    (tmp_path / "last").touch()
    patterns = [f"pattern-{number}" for number in range(50_000)] + ["last"]
    scan = StageSpec(use="scan", settings={"roots": [str(tmp_path)], "excludes": patterns})
    spec = PipeSpec(name="w", stages=[scan, StageSpec(use="discard")])
    with Monitor() as monitor:
        outcome = monitor.start(spec).wait()

    assert outcome.results["scan"][0]["files"] == 1
