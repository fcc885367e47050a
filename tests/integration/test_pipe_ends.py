"""However a pipe ends, it says why, ends within a bound, and leaves nothing behind.

SPEC A15, A16, A20-A25, C9, C13-C19.
"""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from datamover.errors import (
    BufferTimeoutError,
    ForkServerError,
    StageFailedError,
    StopRequestedError,
)
from datamover.monitor.core import State
from datamover.monitor.live import LivePipe
from datamover.monitor.supervisor import Monitor, run
from datamover.pipe.definition import head, middle, tail
from datamover.pipe.spec import Mode, OnQuota, PipeSpec
from datamover.testing.stages import (
    carry,
    copy,
    count,
    gather,
    hoard,
    let_go,
    noticing,
    write_number,
)

pytestmark = pytest.mark.processes
BOUND_S = 1.5
ENDLESS = -1
LOCAL = [Mode.THREAD, Mode.INLINE]


@pytest.fixture(scope="module")
def monitor():
    with Monitor(preload=["datamover.testing.stages"]) as found:
        found.warm_up()
        yield found


def spec(*stages, mode: Mode = Mode.PROCESS, **more) -> PipeSpec:
    return PipeSpec(name="ends", stages=stages, **{"mode": mode, "buffer_size": 64} | more)


def until(monitor: Monitor, condition, *, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        monitor.step(0.01)


def flows(pipe: LivePipe) -> bool:
    return pipe.statistics().stages[-1].instances[0].buffers_in > 3


def failure(pipe: LivePipe) -> StageFailedError:
    with pytest.raises(StageFailedError) as caught:
        pipe.wait()
    return caught.value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_given_back(pipe: LivePipe) -> bool:
    return not pipe.wiring.queues and not pipe.wiring.sockets and pipe.wiring.segment.descriptor < 0


# ---- a stage that raises, and roles


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("instances", [1, 3])
def test_a_stage_that_raises_is_named_with_instance_sequence_and_cause(
    monitor: Monitor, mode: Mode, instances: int
) -> None:
    pipe = monitor.start(
        spec(
            count.stage(count=60),
            carry.stage(name="picky", instances=instances, raise_at=17),
            gather.stage(),
            mode=mode,
        )
    )
    found = failure(pipe)

    assert (found.stage, found.sequence, found.cause_code) == ("picky", 17, "exception")
    assert 0 <= found.instance < instances
    assert found.cause.startswith("ValueError: number 17 is not welcome (_meet, line")
    assert is_given_back(pipe)


@head
def head_that_receives(port) -> None:
    port.receive()


@head
def head_that_allocates_twice(port) -> None:
    while True:
        port.alloc()


@tail
def tail_that_sends(port) -> None:
    for buffer in port.incoming():
        port.send(buffer)


@tail
def tail_that_allocates(port) -> None:
    port.alloc()


@middle
def middle_that_allocates_undeclared(port) -> None:
    port.alloc()


@middle
def sends_twice(port) -> None:
    for buffer in port.incoming():
        port.send(buffer)
        port.send(buffer)


@middle
def writes_after_send(port) -> None:
    for buffer in port.incoming():
        view = buffer.payload
        port.send(buffer)
        view[0] = 1


@middle
def frees_twice(port) -> None:
    for buffer in port.incoming():
        port.free(buffer)
        port.free(buffer)


@middle
def says_more_than_there_is(port) -> None:
    for buffer in port.incoming():
        buffer.used = 1 << 20
        port.send(buffer)


@middle
def returns_early(port) -> None:
    port.free(port.receive())


@middle
def keeps_one(port) -> None:
    kept = [port.receive()]
    for buffer in port.incoming():
        port.send(buffer)
    del kept


@middle
def looks_ahead(port) -> None:
    first, second = port.receive(), port.receive()
    port.send(first)
    port.send(second)


@middle
def sends_two_for_one(port) -> None:
    for buffer in port.incoming():
        port.send(buffer)
        port.send(port.alloc())


@pytest.mark.parametrize("mode", LOCAL)
@pytest.mark.parametrize(
    ("stages", "code", "text"),
    [
        ([head_that_receives, gather], "pipe.role", "head_that_receives is a head, which never"),
        ([count, tail_that_sends], "pipe.role", "is a tail, which never calls send"),
        ([count, tail_that_allocates], "pipe.role", "is a tail, which never calls alloc"),
        ([count, middle_that_allocates_undeclared, gather], "pipe.role", "never calls alloc"),
        ([head_that_allocates_twice, gather], "pipe.ownership", "holds all 8 buffers of its share"),
        ([count, hoard, gather], "pipe.ownership", "holds all 4 buffers of its share"),
        ([count, sends_twice, gather], "pipe.ownership", "does not own it"),
        ([count, frees_twice, gather], "pipe.ownership", "does not own it"),
        ([count, writes_after_send, gather], "exception", "released memoryview"),
        ([count, says_more_than_there_is, gather], "pipe.ownership", "used is 1048576"),
        ([count, returns_early, gather], "pipe.ownership", "returned before its input ended"),
        ([count, keeps_one, gather], "pipe.ownership", "still holds 1 buffers"),
    ],
)
def test_a_stage_that_breaks_a_rule_is_named(
    monitor: Monitor, mode: Mode, stages, code: str, text: str
) -> None:
    pipe = monitor.start(spec(*(s.stage() for s in stages), mode=mode, buffers=8))
    found = failure(pipe)

    assert found.cause_code == code
    assert text in found.cause
    assert is_given_back(pipe)


@pytest.mark.parametrize("mode", LOCAL)
def test_an_instance_that_looks_ahead_is_refused_where_it_would_reorder(
    monitor: Monitor, mode: Mode
) -> None:
    found = failure(
        monitor.start(
            spec(count.stage(), looks_ahead.stage(instances=2), gather.stage(), mode=mode)
        )
    )

    assert "sent after the next one was received" in found.cause


@head
def forgets_a_number(port) -> None:
    for number in range(port.instance, 100, port.instances):
        if number != 3:
            buffer = port.alloc()
            write_number(buffer, number)
            port.send(buffer, sequence=number)


@head
def counts_down(port) -> None:
    for number in (4, 2, 0):
        port.send(port.alloc(), sequence=number + port.instance)


@head
def does_not_number(port) -> None:
    port.send(port.alloc())


@pytest.mark.parametrize("mode", LOCAL)
@pytest.mark.parametrize(
    ("stage", "text"),
    [
        (forgets_a_number, "sequence 3: no buffer is left to bring it"),
        (counts_down, "the numbers that one instance gives must grow"),
        (does_not_number, "a head of several instances must number what it sends"),
    ],
)
def test_heads_that_number_wrongly_are_told_and_nothing_hangs(
    monitor: Monitor, mode: Mode, stage, text: str
) -> None:
    # The copying stage has buffers of its own: they cannot bring what a head forgot.
    pipe = monitor.start(
        spec(stage.stage(instances=2), copy.stage(), gather.stage(keep=1), mode=mode, buffers=13)
    )

    assert text in failure(pipe).cause


class OddError(Exception):
    def __str__(self) -> str:
        return "a name as the file system has it: \udcff"


@head
def raises_odd_text(port) -> None:
    port.check()
    raise OddError


def test_any_text_of_an_error_reaches_the_caller(monitor: Monitor) -> None:
    pipe = monitor.start(spec(raises_odd_text.stage(), gather.stage(), mode=Mode.THREAD))

    assert "the file system has it: \\udcff" in failure(pipe).cause


# ---- shares and pressure


@pytest.mark.parametrize("mode", [Mode.PROCESS, Mode.THREAD])
def test_a_head_stops_when_its_share_is_under_way_and_goes_on_with_each_free(
    monitor: Monitor, mode: Mode
) -> None:
    pipe = monitor.start(
        spec(
            count.stage(count=ENDLESS, share=3),
            carry.stage(),
            gather.stage(hang_after=2),
            mode=mode,
            buffers=3,
        )
    )
    until(monitor, lambda: pipe.statistics().stages[0].instances[0].buffers_out == 5)
    before = rss(pipe)
    for _ in range(20):
        monitor.step(0.01)
    stages = pipe.statistics().stages

    # Two were freed; the third is held by the tail, and two wait: no more can be sent.
    assert stages[0].instances[0].buffers_out == 5
    assert stages[2].instances[0].held == 1
    assert rss(pipe) <= before + 65536
    pipe.stop()
    with pytest.raises(StopRequestedError):
        wait_and_let_go(pipe)


def rss(pipe: LivePipe) -> int:
    return sum(
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pipe.pids.values()
    )


def wait_and_let_go(pipe: LivePipe) -> None:
    try:
        pipe.wait()
    finally:
        join_hung_threads()


def join_hung_threads() -> None:
    let_go()
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        thread.join(5.0)


@pytest.mark.parametrize("mode", [Mode.PROCESS, Mode.THREAD])
def test_terminate_ends_an_instance_that_asks_for_more_than_its_share(
    monitor: Monitor, mode: Mode
) -> None:
    pipe = monitor.start(
        spec(
            count.stage(count=ENDLESS, share=3, on_quota=OnQuota.TERMINATE),
            gather.stage(hang_after=0),
            mode=mode,
            buffers=3,
        )
    )
    try:
        found = failure(pipe)
    finally:
        join_hung_threads()

    assert (found.stage, found.instance, found.cause_code) == ("count", 0, "pipe.quota")
    assert found.cause == "stage count, instance 0: all 3 buffers of its share are in use"


@middle(allocates=True)
def asks_with_a_timeout(port) -> None:
    for buffer in port.incoming():
        port.free(buffer)
    sent, began = 0, time.monotonic()
    try:
        while True:
            fresh = port.alloc(timeout=0.05)
            write_number(fresh, sent)
            port.send(fresh)
            sent += 1
    except BufferTimeoutError as error:
        port.result({"sent": sent, "waited": time.monotonic() - began, "said": str(error)})


@pytest.mark.parametrize("mode", LOCAL)
def test_alloc_gives_up_after_its_timeout(monitor: Monitor, mode: Mode) -> None:
    outcome = monitor.start(
        spec(
            count.stage(count=1, share=4),
            asks_with_a_timeout.stage(share=4),
            gather.stage(keep=4),
            mode=mode,
            buffers=8,
        )
    ).wait()
    found = outcome.results["asks_with_a_timeout"][0]

    assert found["sent"] == 4
    assert found["said"] == "no buffer came within 0.05 s"
    assert 0.05 <= found["waited"] < BOUND_S


def test_a_slow_allocator_and_a_fast_one_both_get_their_share(monitor: Monitor) -> None:
    pipe = monitor.start(
        spec(
            count.stage(count=ENDLESS),
            copy.stage(instances=2, only=0, delay_s=0.01),
            gather.stage(),
        )
    )
    until(
        monitor,
        lambda: all(i.buffers_out > 20 for i in pipe.statistics().stages[1].instances),
        timeout=20,
    )
    pipe.stop()
    with pytest.raises(StopRequestedError):
        pipe.wait()


# ---- stopping


@pytest.mark.parametrize("mode", [Mode.PROCESS, Mode.THREAD])
def test_stop_is_obeyed_while_data_flows(monitor: Monitor, mode: Mode) -> None:
    pipe = monitor.start(
        spec(count.stage(count=ENDLESS), copy.stage(instances=2), gather.stage(), mode=mode)
    )
    until(monitor, lambda: flows(pipe))
    began = time.monotonic()
    pipe.stop()
    with pytest.raises(StopRequestedError):
        pipe.wait()

    assert time.monotonic() - began < BOUND_S
    assert pipe.state is State.STOPPED
    assert is_given_back(pipe)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_pipe_can_be_stopped_before_anything_ran(monitor: Monitor, mode: Mode) -> None:
    pipe = monitor.start(spec(count.stage(count=ENDLESS), gather.stage(), mode=mode))
    pipe.stop()
    with pytest.raises(StopRequestedError):
        pipe.wait()

    assert is_given_back(pipe)


@pytest.mark.parametrize("mode", [Mode.PROCESS, Mode.THREAD])
def test_a_task_that_hangs_in_its_stage_is_ended_after_the_grace(
    monitor: Monitor, mode: Mode
) -> None:
    pipe = monitor.start(
        spec(count.stage(count=ENDLESS), carry.stage(hang_at=5), gather.stage(), mode=mode)
    )
    until(monitor, lambda: pipe.statistics().stages[2].instances[0].buffers_in == 5)
    pids = list(pipe.pids.values())
    began = time.monotonic()
    pipe.stop()
    with pytest.raises(StopRequestedError):
        wait_and_let_go(pipe)

    assert 1.5 < time.monotonic() - began < 2.0 + BOUND_S
    assert not any(alive(pid) for pid in pids)


def test_a_task_that_starts_after_the_grace_is_ended_at_once(monitor: Monitor) -> None:
    server = monitor._launcher._server.pid
    os.kill(server, signal.SIGSTOP)
    try:
        pipe = monitor.start(spec(count.stage(count=ENDLESS, delay_s=1e6), gather.stage()))
        pipe.stop()
        until(monitor, lambda: pipe._forced)
        assert not pipe.pids
    finally:
        os.kill(server, signal.SIGCONT)
    began = time.monotonic()
    with pytest.raises(StopRequestedError):
        pipe.wait()

    assert time.monotonic() - began < BOUND_S


def test_a_hang_does_not_keep_others_from_ending_after_a_failure(monitor: Monitor) -> None:
    pipe = monitor.start(
        spec(
            count.stage(count=ENDLESS),
            carry.stage(name="hangs", instances=2, hang_at=3),
            carry.stage(name="raises", raise_at=1),
            gather.stage(),
        )
    )
    found = failure(pipe)

    assert found.stage == "raises"


def test_closing_a_monitor_ends_its_pipes_of_every_mode_at_once() -> None:
    began = time.monotonic()
    with Monitor() as monitor:
        pipes = [
            monitor.start(spec(count.stage(count=ENDLESS), gather.stage(), mode=mode))
            for mode in Mode
        ]

    assert [pipe.state for pipe in pipes] == [State.STOPPED] * 3
    assert all(is_given_back(pipe) for pipe in pipes)
    assert time.monotonic() - began < 2.0 + BOUND_S


# ---- death


@pytest.mark.parametrize("victim", range(5))
def test_kill_9_of_any_task_ends_the_pipe_and_names_it(monitor: Monitor, victim: int) -> None:
    pipe = monitor.start(
        spec(
            count.stage(count=ENDLESS),
            copy.stage(instances=2, delay_s=0.001),
            carry.stage(),
            gather.stage(),
        )
    )
    until(monitor, lambda: flows(pipe) and len(pipe.pids) == 5)
    pids = dict(pipe.pids)
    task = pipe.layout.tasks[victim]
    began = time.monotonic()
    os.kill(pids[victim], signal.SIGKILL)
    found = failure(pipe)

    assert time.monotonic() - began < BOUND_S
    assert (found.stage, found.instance) == (pipe.layout.stages[task.stage].name, task.instance)
    assert (found.cause, found.cause_code) == ("killed by signal 9", "killed")
    assert not any(alive(pid) for pid in pids.values())
    assert is_given_back(pipe)


def test_a_killed_task_is_reported_with_the_number_it_had_received(monitor: Monitor) -> None:
    pipe = monitor.start(spec(count.stage(count=ENDLESS), carry.stage(hang_at=5), gather.stage()))
    until(monitor, lambda: pipe.statistics().stages[2].instances[0].buffers_in == 5)
    until(monitor, lambda: len(pipe.pids) == 3)
    os.kill(pipe.pids[1], signal.SIGKILL)

    assert failure(pipe).sequence == 5


def test_a_fresh_buffer_has_no_number_to_report(monitor: Monitor) -> None:
    pipe = monitor.start(
        spec(count.stage(count=4), hoard.stage(buffers=2, then_hang=True), gather.stage())
    )
    until(monitor, lambda: pipe.statistics().stages[1].instances[0].held == 2 and 1 in pipe.pids)
    os.kill(pipe.pids[1], signal.SIGKILL)

    assert failure(pipe).sequence == -1


def test_kill_9_of_the_fork_server_ends_every_pipe_and_task() -> None:
    with Monitor(preload=["datamover.testing.stages"]) as monitor:
        pipes = [monitor.start(spec(count.stage(count=ENDLESS), gather.stage())) for _ in range(2)]
        until(monitor, lambda: all(flows(pipe) and len(pipe.pids) == 2 for pipe in pipes))
        pids = [pid for pipe in pipes for pid in pipe.pids.values()]
        os.kill(monitor._launcher._server.pid, signal.SIGKILL)
        began = time.monotonic()
        for pipe in pipes:
            with pytest.raises(ForkServerError, match="the fork server was killed by signal 9"):
                pipe.wait()

        assert time.monotonic() - began < BOUND_S
        until(monitor, lambda: not any(alive(pid) for pid in pids), timeout=1.0)

        again = monitor.start(spec(count.stage(count=5), gather.stage())).wait()
        assert again.results["gather"][0]["count"] == 5


# ---- words


def test_notices_and_results_arrive(monitor: Monitor) -> None:
    heard = []
    outcome = monitor.start(
        spec(count.stage(count=5), noticing.stage(instances=2), gather.stage(instances=2)),
        on_notice=lambda *given: heard.append(given),
    ).wait()

    assert sorted(given["number"] for _, _, _, given in heard) == [0, 1, 2, 3, 4]
    assert {(stage, kind) for stage, _, kind, _ in heard} == {("noticing", "seen")}
    assert sum(r["count"] for r in outcome.results["gather"]) == 5
    assert outcome.results["count"] == ({},)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_flood_of_notices_loses_neither_one_nor_the_end(monitor: Monitor, mode: Mode) -> None:
    heard = []
    outcome = monitor.start(
        spec(count.stage(count=20), noticing.stage(notices=100), gather.stage(), mode=mode),
        on_notice=lambda *given: heard.append(given),
    ).wait()

    assert len(heard) == 2000
    assert outcome.results["gather"][0]["count"] == 20


def test_a_notice_longer_than_a_message_is_shortened(monitor: Monitor) -> None:
    heard = []
    monitor.start(
        spec(count.stage(count=1), noticing.stage(length=100_000), gather.stage()),
        on_notice=lambda *given: heard.append(given),
    ).wait()

    assert 0 < len(heard[0][3]["text"]) < 100_000


def test_a_message_that_is_none_fails_its_stage_and_not_the_monitor(monitor: Monitor) -> None:
    pipe = monitor.start(spec(says_nonsense.stage(), gather.stage(), mode=Mode.THREAD))
    found = failure(pipe)

    assert found.stage == "says_nonsense"
    assert "control message" in found.cause


@head
def says_nonsense(port) -> None:
    port._control._connection.send(b"\xff{nonsense")
    while True:
        buffer = port.alloc()
        write_number(buffer, 0)
        port.send(buffer)


# ---- many


def cycles() -> int:
    return int(os.environ.get("DATAMOVER_CYCLES", "50"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", list(Mode))
def test_starting_and_stopping_again_and_again_leaks_nothing(monitor: Monitor, mode: Mode) -> None:
    def one_cycle(number: int) -> None:
        pipe = monitor.start(
            spec(count.stage(count=5), copy.stage(instances=2), gather.stage(), mode=mode)
        )
        if number % 3:
            pipe.wait()
        else:
            pipe.stop()
            with pytest.raises(StopRequestedError):
                pipe.wait()

    one_cycle(1)
    before, children = open_descriptors(), server_children(monitor)
    for number in range(cycles()):
        one_cycle(number)

    assert open_descriptors() == before
    assert server_children(monitor) == children
    assert not monitor._pipes
    assert not monitor._tickets


def open_descriptors() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), 0


def server_children(monitor: Monitor) -> tuple[int, str]:
    pid = monitor._launcher._server.pid
    return (
        len(os.listdir(f"/proc/{pid}/fd")),
        Path(f"/proc/{pid}/task/{pid}/children").read_text(),
    )


def test_run_needs_no_monitor_of_the_caller() -> None:
    outcome = run(spec(count.stage(count=3), gather.stage()))

    assert outcome.results["gather"][0]["count"] == 3


@head
def raises_while_a_view_is_in_use(port) -> None:
    buffer = port.alloc()
    in_use = (ctypes.c_char * 1).from_buffer(buffer.data)
    raise LookupError(f"the reason, not the view: {len(in_use)}")


@pytest.mark.parametrize("mode", LOCAL)
def test_a_view_in_use_does_not_hide_why_a_stage_failed(monitor: Monitor, mode: Mode) -> None:
    pipe = monitor.start(spec(raises_while_a_view_is_in_use.stage(), gather.stage(), mode=mode))

    assert failure(pipe).cause.startswith("LookupError: the reason")
