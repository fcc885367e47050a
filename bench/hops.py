"""How fast buffers go from head through middle to tail, beside what Python offers for it.

Every buffer is really written (copied from a private source) and really read (copied to a private
sink) once.  The rate counts payload bytes at the tail, after a warm-up, so process starts and first
touches are left out for everybody.  memcpy of one and two cores is measured in the same rounds.

    python bench/hops.py [--runs 5] [--quick] [--json] [--peers-only] [--sizes 4096,65536]
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from measure import Report, arguments, compare, median

try:
    import datamover
except ImportError:  # the peers can be measured without it
    datamover = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
SET = 64 * MIB
SIZES = (4096, 65536, 262144, MIB)
DEPTH = 64  # what the peers' queues may hold
fork = multiprocessing.get_context("fork")


class Work:
    """One side's private memory: 64 MiB, used round and round."""

    def __init__(self, size: int, total: int = SET) -> None:
        self.memory = memoryview(bytearray(os.urandom(MIB) * (total // MIB)))
        self.size = size
        self.place = 0

    def next(self) -> memoryview:
        view = self.memory[self.place : self.place + self.size]
        self.place = (self.place + self.size) % len(self.memory)
        return view


class Clock:
    """Seconds between the end of the warm-up and the last item, seen from the tail."""

    def __init__(self, warm: int) -> None:
        self.left, self.start = warm, time.monotonic()

    def tick(self) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                self.start = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.start


def counts(size: int, *, total: int) -> tuple[int, int]:
    """Return warm-up items and measured items for ``total`` bytes."""
    items = max(300, min(200_000, total // size))
    return max(items // 5, 3 * DEPTH), items


# --- the limit: memcpy ------------------------------------------------------------------------


def copy_loop(core: int, seconds: float, done: Any) -> None:
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {core})
    source, target = Work(MIB, SET // 2), Work(MIB, SET // 2)
    done.recv_bytes()
    deadline, copied = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        for _ in range(16):
            target.next()[:] = source.next()
            copied += MIB
    done.send(copied / (time.monotonic() - deadline + seconds))


def memcpy(cores: int, seconds: float) -> float:
    """Bytes copied a second by one process a core, each within 64 MiB of its own."""
    places = sorted(os.sched_getaffinity(0))[:cores]
    pipes = [fork.Pipe() for _ in places]
    tasks = [
        fork.Process(target=copy_loop, args=(core, seconds, there))
        for core, (_, there) in zip(places, pipes, strict=True)
    ]
    for task in tasks:
        task.start()
    time.sleep(0.3)  # let each of them make and touch its memory
    for here, _ in pipes:
        here.send_bytes(b"go")
    rate = sum(here.recv() for here, _ in pipes)
    for task in tasks:
        task.join()
    return rate


# --- the pipe ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of head and tail."""

    size: int
    warm: int
    items: int
    touch: bool


if datamover is not None:

    @datamover.head
    def produce(port: Any, plan: Plan) -> None:
        work = Work(plan.size) if plan.touch else None
        for _ in range(plan.warm + plan.items):
            buffer = port.alloc()
            if work is not None:
                buffer.data[: plan.size] = work.next()
            buffer.used = plan.size
            port.send(buffer)

    @datamover.middle
    def through(port: Any) -> None:
        for buffer in port.incoming():
            port.send(buffer)

    @datamover.tail
    def consume(port: Any, plan: Plan) -> None:
        work = Work(plan.size) if plan.touch else None
        clock = Clock(plan.warm)
        for buffer in port.incoming():
            if work is not None:
                work.next()[:] = buffer.data[: plan.size]
            port.free(buffer)
            clock.tick()
        port.result({"seconds": clock.seconds()})


def pipe_seconds(
    size: int, warm: int, items: int, *, pool: int = 0, touch: bool = True, mode: str = "process"
) -> float:
    """Run the three stages; ``pool`` bytes of buffers, 0 for the default."""
    plan = {"size": size, "warm": warm, "items": items, "touch": touch}
    spec = datamover.PipeSpec(
        name="hops",
        stages=[produce.stage(**plan), through.stage(), consume.stage(**plan)],
        buffers=max(8, pool // size) if pool else 0,
        buffer_size=size,
        mode=datamover.Mode(mode),
    )
    return float(str(datamover.run(spec).results["consume"][0]["seconds"]))


# --- what else there is -----------------------------------------------------------------------


def three(
    head: Callable[[], None], middle: Callable[[], None], tail: Callable[[Any], None]
) -> float:
    """Run three functions as processes; the last one sends its seconds back."""
    here, there = fork.Pipe()
    tasks = [fork.Process(target=head), fork.Process(target=middle)]
    tasks.append(fork.Process(target=tail, args=(there,)))
    for task in tasks:
        task.start()
    seconds = here.recv()
    for task in tasks:
        task.join()
    return float(seconds)


def queue_seconds(size: int, warm: int, items: int) -> float:
    """multiprocessing.Queue: pickles, a feeder thread and two copies a hop."""
    one, two = fork.Queue(DEPTH), fork.Queue(DEPTH)

    def head() -> None:
        work = Work(size)
        for _ in range(warm + items):
            one.put(bytes(work.next()))
        one.put(None)

    def middle() -> None:
        while (item := one.get()) is not None:
            two.put(item)
        two.put(None)

    def tail(done: Any) -> None:
        work, clock = Work(size), Clock(warm)
        while (item := two.get()) is not None:
            work.next()[:] = item
            clock.tick()
        done.send(clock.seconds())

    return three(head, middle, tail)


def connection_seconds(size: int, warm: int, items: int) -> float:
    """multiprocessing.Pipe: send_bytes from, and recv_bytes_into, memory that is there already."""
    (out_one, in_one), (out_two, in_two) = (reversed(fork.Pipe(duplex=False)) for _ in range(2))

    def head() -> None:
        work = Work(size)
        for _ in range(warm + items):
            out_one.send_bytes(work.next())

    def middle() -> None:
        item = memoryview(bytearray(size))
        for _ in range(warm + items):
            in_one.recv_bytes_into(item)
            out_two.send_bytes(item)

    def tail(done: Any) -> None:
        work, clock = Work(size), Clock(warm)
        for _ in range(warm + items):
            in_two.recv_bytes_into(work.next())
            clock.tick()
        done.send(clock.seconds())

    return three(head, middle, tail)


def thread_seconds(size: int, warm: int, items: int) -> float:  # noqa: C901  three loops, one idea
    """threads and queue.Queue, with a pool of their own: references travel, nothing is copied."""
    free, one, two = queue.Queue(), queue.Queue(), queue.Queue()  # type: ignore[var-annotated]
    for _ in range(max(8, min(DEPTH, 8 * MIB // size))):
        free.put(memoryview(bytearray(size)))
    found: list[float] = []

    def head() -> None:
        work = Work(size)
        for _ in range(warm + items):
            item = free.get()
            item[:] = work.next()
            one.put(item)
        one.put(None)

    def middle() -> None:
        while (item := one.get()) is not None:
            two.put(item)
        two.put(None)

    def tail() -> None:
        work, clock = Work(size), Clock(warm)
        while (item := two.get()) is not None:
            work.next()[:] = item
            free.put(item)
            clock.tick()
        found.append(clock.seconds())

    tasks = [threading.Thread(target=part) for part in (head, middle, tail)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    return found[0]


PEERS = {
    "multiprocessing.Queue": (queue_seconds, 1 << 28),
    "multiprocessing.Pipe": (connection_seconds, 1 << 28),
    "threads + queue.Queue": (thread_seconds, 1 << 30),
}


def candidates(size: int, *, quick: bool, ours: bool) -> dict[str, Callable[[int], float]]:
    """Each returns bytes a second."""

    def rate(call: Callable[..., float], total: int, **more: Any) -> Callable[[int], float]:
        warm, items = counts(size, total=total // (8 if quick else 1))
        return lambda _: items * size / call(size, warm, items, **more)

    found = {name: rate(call, total) for name, (call, total) in PEERS.items()}
    if ours:
        found["pipe, threads"] = rate(pipe_seconds, 1 << 30, mode="thread")
        found["pipe, default pool"] = rate(pipe_seconds, 4 << 30, pool=0)
        found["pipe, 64 MiB pool"] = rate(pipe_seconds, 4 << 30, pool=SET)
    return found


def main() -> None:
    given = arguments(
        __doc__,
        peers=lambda p: p.add_argument("--peers-only", action="store_true"),
        sizes=lambda p: p.add_argument("--sizes", default=",".join(map(str, SIZES))),
    )
    ours = datamover is not None and hasattr(datamover, "head") and not given.peers_only
    seconds = 0.3 if given.quick else 1.0
    report = Report("hops", {"runs": given.runs, "quick": given.quick})
    limits = {
        "memcpy, 1 core": lambda _: memcpy(1, seconds),
        "memcpy, 2 cores": lambda _: memcpy(2, seconds),
    }
    rates = {
        size: compare(given.runs, limits | candidates(size, quick=given.quick, ours=ours))
        for size in map(int, given.sizes.split(","))
    }
    for name in limits:
        values = [value for found in rates.values() for value in found.pop(name)]
        report.row(name, gb_s=median(values) / 1e9)
    two = float(report.rows[-1]["gb_s"])
    for size, found in rates.items():
        add_rows(report, size, found, two)
    if ours:
        finish_ours(report, rates, given)
    report.finish(as_json=given.json)


def add_rows(report: Report, size: int, found: dict[str, list[float]], two: float) -> None:
    """One row a candidate; ``two`` is the rate of two cores in GB/s."""
    for name, values in found.items():
        rate = median(values)
        report.row(
            f"{size >> 10:4} KiB  {name}",
            gb_s=rate / 1e9,
            us=size / rate * 1e6,
            of_memcpy=rate / 1e9 / two,
            low=min(values) / 1e9,
            high=max(values) / 1e9,
        )
        if name == "pipe, default pool":
            what = f"{size >> 10} KiB: of two-core memcpy"
            report.target(what, rate / 1e9 / two, 0.5, at_least=True)


def finish_ours(report: Report, rates: dict[int, dict[str, list[float]]], given: Any) -> None:
    """Add the cost of control alone, and the ratio to the best of the process peers."""
    warm, items = counts(4096, total=(4096 * 200_000) // (8 if given.quick else 1))
    control = compare(
        given.runs,
        {
            "control, default pool": lambda _: (
                pipe_seconds(4096, warm, items, pool=0, touch=False) / items * 1e6
            ),
        },
    )
    for name, values in control.items():
        report.row(name, us=median(values), low=min(values), high=max(values))
        report.target("control cost a buffer, us", median(values), 6, at_least=False)
    if MIB in rates:
        found = rates[MIB]
        best = max(median(found[n]) for n in PEERS if n.startswith("multiprocessing"))
        report.target(
            "1 MiB: times the best process peer",
            median(found["pipe, default pool"]) / best,
            10,
            at_least=True,
        )


if __name__ == "__main__":
    main()
