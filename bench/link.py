"""How fast buffers go from one machine's memory to another's, over loopback.

Two pipes, as two machines have them: a head that fills nothing and net_send in two processes;
net_receive and a tail that frees in two more.  Beside them: a plain socket between two processes
(sendall and recv_into of one buffer), and iperf3 where it is installed.

    python bench/link.py [--runs 5] [--quick] [--json] [--sizes 1048576]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from measure import Report, arguments, compare, median

from datamover.monitor.supervisor import Monitor
from datamover.pipe.definition import head, tail
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.testing.porter import Porter

MIB = 1 << 20
fork = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of both ends."""

    size: int
    buffers: int
    warm: int = 0


@head
def pour(port: Any, plan: Plan) -> None:
    """Send buffers as they are: every byte was written once, when the pool was made."""
    filled: set[int] = set()
    for _ in range(plan.buffers):
        buffer = port.alloc()
        if buffer.index not in filled:
            filled.add(buffer.index)
            buffer.data[: plan.size] = os.urandom(plan.size)
        buffer.used = plan.size
        port.send(buffer)


@tail
def drink(port: Any, plan: Plan) -> None:
    """Free; say how long everything behind the warm-up took."""
    start = count = 0
    for buffer in port.incoming():
        port.free(buffer)
        count += 1
        if count == plan.warm:
            start = time.monotonic()
    port.result({"seconds": time.monotonic() - start, "count": count - plan.warm})


def cpu() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def through(protection: str, paths: int, size: int, total: int, window: int) -> dict[str, float]:
    """Move ``total`` bytes; return GB/s and processor seconds for a GB."""
    items = max(64, total // size)
    plan = {"size": size, "buffers": items + items // 4, "warm": items // 4}
    token = os.urandom(16)
    with tempfile.TemporaryDirectory() as runtime, Porter(runtime) as porter:
        both = {
            "token": token.hex(),
            "secret": os.urandom(32).hex(),
            "protection": protection,
            "paths": paths,
        }
        door = {"door": f"{runtime}/door-{token.hex()}"}
        with Monitor() as near, Monitor() as far:
            right = far.start(
                PipeSpec(
                    name="right",
                    stages=[
                        StageSpec(use="net_receive", settings={**both, **door}),
                        drink.stage(**plan),
                    ],
                    buffers=window,
                    buffer_size=size,
                )
            )
            right.wait_ready()
            left = near.start(
                PipeSpec(
                    name="left",
                    stages=[
                        pour.stage(**plan),
                        StageSpec(use="net_send", settings={**both, "dial": [porter.address]}),
                    ],
                    buffers=window,
                    buffer_size=size,
                )
            )
            while not (left.is_over and right.is_over):
                near.step(0.05)
                far.step(0.05)
            found = [left.outcome(), right.outcome()]
        seconds = found[1].results["drink"][0]["seconds"]
        stages = {s.stage: s.instances[0].cpu_s for f in found for s in f.statistics.stages}
        spent = sum(stages.values())
        if os.environ.get("DATAMOVER_BENCH_STAGES"):
            print({k: round(v / (plan["buffers"] * size / 1e9), 3) for k, v in stages.items()})
    return {"rate": items * size / seconds / 1e9, "cpu": spent / (plan["buffers"] * size / 1e9)}


def plain(size: int, total: int, connections: int) -> dict[str, float]:
    """The same bytes by sendall and recv_into, a process for each end."""

    def send(port: int, count: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            data = memoryview(bytearray(os.urandom(MIB) * (16 * size // MIB or 1)))
            for n in range(count + count // 4):
                at = n % (len(data) // size) * size
                connection.sendall(data[at : at + size])

    def receive(listener: socket.socket, done: Any) -> None:
        connection, _ = listener.accept()
        place, at, count, start = memoryview(bytearray(16 * size)), 0, 0, 0.0
        while more := connection.recv_into(place[at : at + size]):
            at = (at + more) % (15 * size)
            count += more
            if not start and count >= warm:
                start, count = time.monotonic(), 0
        done.send((count, time.monotonic() - start))

    count = max(64, total // size) // connections
    warm = count // 4 * size
    before, tasks, ends = cpu(), [], []
    for _ in range(connections):
        listener = socket.create_server(("127.0.0.1", 0))
        here, there = fork.Pipe()
        ends.append(here)
        tasks.append(fork.Process(target=receive, args=(listener, there)))
        tasks.append(fork.Process(target=send, args=(listener.getsockname()[1], count)))
    for task in tasks:
        task.start()
    found = [end.recv() for end in ends]
    for task in tasks:
        task.join()
    moved, seconds = sum(n for n, _ in found), max(s for _, s in found)
    return {"rate": moved / seconds / 1e9, "cpu": (cpu() - before) / (1.25 * moved / 1e9)}


def iperf(size: int, total: int, connections: int) -> dict[str, float]:
    """iperf3's own opinion."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = subprocess.Popen(["iperf3", "-s", "-1", "-p", port], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        client = ["iperf3", "-c", "127.0.0.1", "-p", port, "-J", "-l", str(min(size, MIB))]
        client += ["-P", str(connections), "-n", str(total // connections)]
        found = json.loads(subprocess.run(client, capture_output=True, check=True).stdout)
    finally:
        server.wait(10)
    end = found["end"]
    use = end["cpu_utilization_percent"]
    seconds = end["sum_received"]["seconds"]
    rate = end["sum_received"]["bits_per_second"] / 8e9
    return {"rate": rate, "cpu": (use["host_total"] + use["remote_total"]) / 100 / rate}


def main() -> None:
    options = arguments(
        __doc__,
        sizes=lambda p: p.add_argument("--sizes", default=str(MIB), help="bytes of a buffer"),
        window=lambda p: p.add_argument("--window", type=int, default=8, help="buffers a side"),
        only=lambda p: p.add_argument("--only", default="", help="a part of the names to run"),
    )
    runs = options.runs or (2 if options.quick else 5)
    total = (256 if options.quick else 2048) * MIB
    report = Report("link", {"runs": runs, "total": total, "window": options.window})
    for size in map(int, options.sizes.split(",")):
        candidates: dict[str, Any] = {}
        for paths in (1, 2, 4):
            for protection in ("clear", "sealed"):
                candidates[f"{protection} x{paths}"] = lambda _, a=protection, b=paths: through(
                    a, b, size, total, options.window
                )
            candidates[f"plain socket x{paths}"] = lambda _, b=paths: plain(size, total, b)
            if shutil.which("iperf3"):
                candidates[f"iperf3 x{paths}"] = lambda _, b=paths: iperf(size, total, b)
        chosen = {k: v for k, v in candidates.items() if options.only in k}
        found = compare(runs, chosen)
        for name, values in found.items():
            report.row(
                f"{size >> 10} KiB, {name}",
                gb_s=median([v["rate"] for v in values]),
                cpu_s_gb=median([v["cpu"] for v in values]),
                best=max(v["rate"] for v in values),
            )
    report.finish(as_json=options.json)


if __name__ == "__main__":
    main()
