"""Whatever a pipe is made of, it delivers what plain functions would, ends, and loses no buffer.

Random pipes from the smallest pool upwards run inline (where a deadlock is found for certain,
since nobody else could end the wait), as threads, and as processes.
"""

from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamover.monitor.supervisor import Monitor
from datamover.pipe.layout import lay_out
from datamover.pipe.spec import Mode, PipeSpec
from datamover.pipe.stage import FanOut
from datamover.shm.segment import DESCRIPTOR
from datamover.testing.stages import (
    Dropping,
    Splitting,
    carry,
    copy,
    count,
    digest,
    drop,
    expected,
    gather,
    split,
)

HURRIED = settings(suppress_health_check=list(HealthCheck), deadline=None)


@st.composite
def middles(draw, delays: bool):
    """A middle, and what it does to numbers."""
    kind = draw(st.sampled_from(["carry", "copy", "drop", "split"]))
    instances = draw(st.integers(1, 4))
    share = draw(st.sampled_from([0, 0, 2, 3]))
    late = {"delay_s": 0.0005, "seed": draw(st.integers(0, 99))} if delays else {}
    if kind == "carry":
        return carry.stage(instances=instances, **late), None
    if kind == "copy":
        return copy.stage(instances=instances, share=share, **late), None
    if kind == "drop":
        every = draw(st.integers(1, 4))
        return drop.stage(instances=instances, every=every), Dropping(every=every)
    parts = draw(st.integers(0, 3))
    stage = split.stage(instances=instances, share=share, parts=parts, **late)
    return stage, Splitting(parts=parts)


@st.composite
def pipes(draw, delays: bool = False, longest: int = 40):
    """A specification, and the numbers that its tail must see."""
    numbers = draw(st.integers(0, longest))
    chosen = draw(st.lists(middles(delays), max_size=4))
    head = count.stage(
        count=numbers, instances=draw(st.integers(1, 4)), share=draw(st.sampled_from([0, 0, 2, 5]))
    )
    tail = gather.stage(instances=draw(st.integers(1, 3)))
    stages = [head]
    for stage in [*(stage for stage, _ in chosen), tail]:
        before = stages[-1]
        many = before.definition.info.fan_out is FanOut.MANY and before.instances > 1
        joins = draw(st.booleans()) and not many
        stages.append(
            msgspec.structs.replace(stage, joined=True, instances=before.instances)
            if joins
            else stage
        )
    allocating = [s for s in stages if s.definition.info.allocates]
    least = sum(s.instances * (s.share or 2) for s in allocating)
    spec = PipeSpec(
        name="random",
        stages=stages,
        buffer_size=64,
        buffers=least + draw(st.integers(0, 2) | st.integers(0, 3 * least)),
    )
    steps = [step for _, step in chosen if step is not None]
    return spec, expected(range(numbers), steps)


def run_and_check(monitor: Monitor, spec: PipeSpec, numbers: list[int], mode: Mode) -> None:
    pipe = monitor.start(
        PipeSpec(
            name=spec.name,
            stages=spec.stages,
            buffers=spec.buffers,
            buffer_size=spec.buffer_size,
            mode=mode,
        )
    )
    free, table = [], []
    close = pipe.wiring.close

    def look_then_close() -> None:
        free.extend(t.index for q in pipe.wiring.free.values() for t in q.drain())
        table.extend(descriptors_of(pipe.wiring))
        assert all(queue.depth() == 0 for queue in pipe.wiring.queues)
        close()

    pipe.wiring.close = look_then_close
    gathered = pipe.wait().results["gather"]

    assert Counter(free) == Counter(i for t in pipe.layout.allocators() for i in t.buffers)
    assert {state for state, *_ in table} == {0}
    assert sum(r["count"] for r in gathered) == len(numbers)
    assert sum(r["sum"] for r in gathered) == sum(numbers)
    if len(gathered) == 1:
        assert gathered[0]["digest"] == digest(numbers)
    for stage in pipe.statistics().stages:
        assert all(instance.held == 0 for instance in stage.instances)


def descriptors_of(wiring) -> list[tuple[int, ...]]:
    table = wiring.segment.descriptors()
    found = [
        DESCRIPTOR.unpack_from(table, index * 64) for index in range(wiring.layout.geometry.buffers)
    ]
    table.release()
    return found


@pytest.fixture(scope="module")
def monitor():
    with Monitor(preload=["datamover.testing.stages"]) as found:
        found.warm_up()
        yield found


@settings(HURRIED, max_examples=150)
@given(pipes())
def test_inline(monitor: Monitor, drawn) -> None:
    run_and_check(monitor, *drawn, mode=Mode.INLINE)


@pytest.mark.slow
@settings(HURRIED, max_examples=100)
@given(pipes(delays=True))
def test_threads(monitor: Monitor, drawn) -> None:
    run_and_check(monitor, *drawn, mode=Mode.THREAD)


@pytest.mark.slow
@pytest.mark.processes
@settings(HURRIED, max_examples=40)
@given(pipes(delays=True))
def test_processes(monitor: Monitor, drawn) -> None:
    run_and_check(monitor, *drawn, mode=Mode.PROCESS)


@given(pipes())
def test_the_smallest_pool_is_the_sum_of_the_least_shares(drawn) -> None:
    spec, _ = drawn
    layout = lay_out(spec)
    shares = [len(task.buffers) for task in layout.allocators()]

    assert min(shares) >= 2
    assert sum(shares) <= layout.geometry.buffers
