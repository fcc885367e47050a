"""What does it cost that compressors are killed while a pipe runs, and that they may be?

A head makes blocks, of which two thirds get small; two compressors (checksum, compress and encrypt
in one process) work on them; the tail digests what arrives.  The same blocks go through four pipes,
by turns:

    stop        the policy is stop, nothing is killed
    retry       the policy is retry, nothing is killed
    killed      the policy is retry, one compressor a second is killed
    often       the policy is retry, a hundred a minute are

What arrives must be the same, byte for byte, every time.

    python bench/retry.py [--runs 3] [--quick] [--json] [--seconds 60]
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import time
from dataclasses import dataclass

from measure import Report, arguments, median

import datamover
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import OnDeath, PipeSpec, StageSpec
from datamover.wire.tag import TagHeader

MIB = 1 << 20
SIZE = MIB
PAUSES = {"stop": 0.0, "retry": 0.0, "killed": 1.0, "often": 0.6}
POOL = 32 * MIB


@dataclass(frozen=True, kw_only=True)
class Making:
    """How many blocks."""

    blocks: int


@datamover.head
def make(port, settings: Making) -> None:
    """Send blocks that differ, one in three as it is, the others of few letters."""
    noise = random.Random(1).randbytes(POOL)
    text = noise.translate(bytes(97 + byte % 16 for byte in range(256)))
    for number in range(settings.blocks):
        source = noise if number % 3 == 2 else text
        at = number * 4099 % (POOL - SIZE)
        buffer = port.alloc()
        buffer.data[:SIZE] = source[at : at + SIZE]
        buffer.used = SIZE
        port.send(buffer)


@datamover.tail
def digest(port) -> None:
    """Leave the digest of every block and of what its tag says."""
    found, count = hashlib.blake2b(digest_size=16), 0
    for buffer in port.incoming():
        tag = TagHeader.decode(buffer.tag[: buffer.tag_used])
        found.update(repr((tag.block, tag.length, tag.transforms)).encode())
        found.update(buffer.payload)
        count += 1
        port.free(buffer)
    port.result({"digest": found.hexdigest(), "blocks": count})


def spec(policy: OnDeath, blocks: int) -> PipeSpec:
    """Return the pipe."""
    key, archive = bytes(range(32)).hex(), bytes(16).hex()
    return PipeSpec(
        name="retry",
        buffer_size=SIZE,
        on_death=policy,
        buffers=8 + 2 * (4 + 2),
        stages=[
            make.stage(share=8, blocks=blocks),
            StageSpec(use="checksum", instances=2),
            StageSpec(use="compress", instances=2, joined=True, share=4, settings={"level": 3}),
            StageSpec(
                use="encrypt",
                instances=2,
                joined=True,
                share=2,
                settings={"key": key, "archive": archive},
            ),
            digest.stage(),
        ],
    )


@dataclass(frozen=True)
class Result:
    """One run: how long, how much processor time, how many deaths, and what arrived."""

    seconds: float
    cpu: float
    kills: int
    respawns: int
    digest: str


def run(how: str, blocks: int, seed: int) -> Result:
    """Run one pipe to its end."""
    chosen, pause, before = random.Random(seed), PAUSES[how], spent()
    policy = OnDeath.STOP if how == "stop" else OnDeath.RETRY
    with Monitor(preload=["datamover.stages.middle.compress"]) as monitor:
        pipe = monitor.start(spec(policy, blocks))
        pipe.wait_ready()
        kills, due, started = 0, time.monotonic() + pause, time.monotonic()
        crews = [crew for crew in pipe.layout.crews() if len(crew) > 1]
        while not pipe.poll(max(0.0, due - time.monotonic()) if pause else 1.0):
            if not pause or time.monotonic() < due:
                continue
            due += pause
            pid = pipe.pids.get(chosen.choice(crews)[0].id)
            if pid:
                os.kill(pid, signal.SIGKILL)
                kills += 1
        seconds = time.monotonic() - started
        left = pipe.outcome().results["digest"][0]
        respawns = pipe.respawns
    after = spent()
    assert left["blocks"] == blocks, left
    return Result(seconds, after - before, kills, respawns, left["digest"])


def spent() -> float:
    """Processor seconds of every task that has ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Compare the four."""
    given = arguments(
        __doc__,
        seconds=lambda parser: parser.add_argument(
            "--seconds", type=float, default=60.0, help="about how long each run takes"
        ),
    )
    seconds = 3.0 if given.quick else given.seconds
    trial = run("stop", 400, 0)
    blocks = max(100, int(400 * seconds / trial.seconds))
    found: dict[str, list[Result]] = {how: [] for how in PAUSES}
    for number in range(given.runs):
        names = list(PAUSES)
        for how in names[number % len(names) :] + names[: number % len(names)]:
            found[how].append(run(how, blocks, number))
    digests = {one.digest for results in found.values() for one in results}
    assert len(digests) == 1, digests
    result = Report("retry", {"blocks": blocks, "size": SIZE, "runs": given.runs})
    rate, cpu = {}, {}
    for how, results in found.items():
        rate[how] = blocks * SIZE / MIB / median([one.seconds for one in results])
        cpu[how] = median([one.cpu for one in results])
        result.row(
            how,
            MiB_s=rate[how],
            cpu_s=cpu[how],
            seconds=median([one.seconds for one in results]),
            kills=sum(one.kills for one in results),
            respawns=sum(one.respawns for one in results),
        )
    result.row("arrived", digest=digests.pop(), equal="yes")
    result.target(
        "one kill a second: rate of the same without",
        rate["killed"] / rate["stop"], 0.7, at_least=True,
    )  # fmt: skip
    result.target(
        "policy alone: processor time of the same without",
        cpu["retry"] / cpu["stop"], 1.03, at_least=False,
    )  # fmt: skip
    result.finish(as_json=given.json)


if __name__ == "__main__":
    main()
