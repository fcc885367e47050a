"""What goes in at one side of a border comes out at the other: once, in order, byte for byte.

Two pipes of two monitors in one process, tied over loopback; a porter stands for the daemon that
takes connections in, and cuts them on demand.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datamover.errors import (
    PeerLostError,
    PeerUnreachableError,
    StageFailedError,
    UsageError,
)
from datamover.link.doorway import door_path
from datamover.pipe.spec import Mode
from datamover.testing.border import TwoSides
from datamover.testing.stages import flip, gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.monitor.statistics import PipeStatistics

USHER = """
import os, sys
from datamover.link.door import hand_over
hello = os.read(0, 64)
with hand_over(sys.argv[1], hello, [0, 1]) as door:
    door.settimeout(None)
    door.recv(1)
"""


@pytest.fixture
def both(tmp_path) -> Iterator[TwoSides]:
    with TwoSides(str(tmp_path)) as found:
        yield found


@pytest.mark.parametrize("protection", ["clear", "sealed", "authenticated"])
def test_what_is_sent_arrives(both: TwoSides, protection: str) -> None:
    both.start(protection=protection)

    assert both.check() == 0
    assert not both.notices


@pytest.mark.processes
def test_what_processes_send_arrives(both: TwoSides) -> None:
    both.start(mode=Mode.PROCESS, protection="sealed", paths=2)

    assert both.check() == 0


@pytest.mark.parametrize("numbers", [0, 1])
def test_a_stream_of_nothing_ends_too(both: TwoSides, numbers: int) -> None:
    both.start(numbers=numbers, paths=3)

    assert both.check() == 0


@pytest.mark.parametrize("paths", [2, 3, 5, 8, 16])
def test_the_number_of_paths_does_not_matter(both: TwoSides, paths: int) -> None:
    both.start(paths=paths, protection="sealed")
    both.check()

    opened = {number for _, number in both.left.paths}
    assert opened <= set(range(paths))
    for pipe in (both.left, both.right):
        carried = [facts["frames"] for facts in pipe.paths.values() if facts["state"] == "done"]
        assert sum(carried) == 200


@pytest.mark.processes
@pytest.mark.parametrize("paths", [1, 2, 3, 7, 16])
@pytest.mark.parametrize(("here", "there"), [(1, 1), (3, 1), (2, 5)])
def test_any_number_of_tasks_and_paths_gives_the_same(
    both: TwoSides, paths: int, here: int, there: int
) -> None:
    """The bytes are turned over by so many tasks here, and back by so many there."""
    both.start(
        mode=Mode.PROCESS,
        protection="sealed",
        paths=paths,
        numbers=60,
        before=[flip.stage(instances=here)],
        after=[flip.stage(instances=there)],
        window=12,
        pool=12,
    )

    assert both.check() == 0


@pytest.mark.slow
def test_paths_are_added_while_they_bring_more(both: TwoSides) -> None:
    both.start(numbers=600, delay_s=0.01, here={"first": 2}, paths=6)
    both.step(until=lambda: len(both.left.paths) == 2)
    begun = time.monotonic()
    both.check()

    # A second and a half is the least that is looked at before there are more.
    assert time.monotonic() - begun > 1.5
    assert {number for _, number in both.left.paths} == set(range(6))


@pytest.mark.parametrize(("window", "pool"), [(2, 2), (2, 9), (9, 2)])
def test_the_smallest_pools_are_enough(both: TwoSides, window: int, pool: int) -> None:
    both.start(paths=4, window=window, pool=pool, numbers=100)

    assert both.check() == 0


def taken_by(statistics: PipeStatistics) -> int:
    """Buffers that the last stage has taken in."""
    return sum(one.buffers_in for one in statistics.stages[-1].instances)


def test_a_limit_leaves_no_path_in_the_middle_of_a_frame(both: TwoSides) -> None:
    """What is due first goes out first, however many paths there are to choose from."""
    both.start(paths=3, window=16, pool=16, numbers=40, tail=gather.stage())
    both.left.set_limit(60_000)
    ahead = [0]

    def look() -> bool:
        passed, taken = (taken_by(pipe.statistics()) for pipe in (both.right, both.left))
        ahead.append(taken - passed)
        return passed >= 8

    both.step(until=look)
    both.left.set_limit(0)

    assert both.check() == 0
    assert max(ahead) <= 3 + 3  # a frame on each path, one that waits, and what is on its way


def test_a_slow_end_slows_the_beginning_and_loses_nothing(both: TwoSides) -> None:
    both.start(paths=2, numbers=60, tail=gather.stage(delay_s=0.01))

    assert both.check() == 0


@pytest.mark.parametrize("protection", ["clear", "sealed"])
def test_paths_that_are_cut_cost_what_they_carried(both: TwoSides, protection: str) -> None:
    both.start(paths=3, protection=protection, delay_s=0.01)
    cuts = 0
    while cuts < 4 and not both.left.is_over:
        due = 3 * (cuts + 1)
        both.step(until=lambda due=due: len(both.porter.connections) >= due)
        both.porter.cut()
        cuts += 1

    assert both.check() <= cuts * 6
    assert cuts > 1
    assert both.told("path lost", "net_send")


def test_a_border_waits_for_its_paths_to_come_back(both: TwoSides) -> None:
    both.start(paths=2, delay_s=0.01)
    both.step(until=lambda: len(both.porter.connections) >= 2)
    both.porter.turns_away = True
    both.porter.cut()
    both.step(until=lambda: len(both.told("path refused", "net_send")) >= 4)
    both.porter.turns_away = False

    assert both.check() <= 6
    assert "closed before its hello" in both.told("path refused", "net_send")[0]


def test_the_receiver_may_dial(both: TwoSides) -> None:
    """Who dials does not depend on the way the data goes: the doors change sides."""
    both._numbers = 200
    door = {"door": door_path(both.runtime, both.token)}
    both.start_left(200, 20_000, 0.0, 6, Mode.THREAD, {**door, "protection": "sealed", "paths": 3})
    both.left.wait_ready()
    receive = {"door": "", "dial": [both.address], "protection": "sealed", "paths": 3}
    both.start_right(20_000, 6, Mode.THREAD, None, receive)

    assert both.check() == 0


@pytest.mark.processes
def test_a_program_may_carry_a_path(both: TwoSides) -> None:
    """As a remote shell does: its standard input and output are the path."""
    usher = [sys.executable, "-c", USHER, both.runtime]
    both.start(here={"command": usher}, paths=2, numbers=400)

    assert both.check() == 0
    assert not both.porter.connections


def test_paths_go_out_by_the_addresses_that_were_given(both: TwoSides) -> None:
    both.start(paths=3, here={"via": ["127.0.0.5", "127.0.0.6"]}, delay_s=0.005, numbers=50)
    seen: set[str] = set()

    def look() -> bool:
        for one in list(both.porter.connections):
            try:
                seen.add(one.getpeername()[0])
            except OSError:
                continue
        return len(both.porter.connections) >= 3

    both.step(until=look)
    both.check()
    assert seen == {"127.0.0.5", "127.0.0.6"}


def test_a_name_is_tried_by_each_of_its_addresses(both: TwoSides, monkeypatch) -> None:
    port = int(both.address.rpartition(":")[2])
    with socket.create_server(("127.0.0.3", 0)) as free:
        nobody = free.getsockname()
    places = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", to) for to in (nobody, ("127.0.0.1", port))
    ]
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or places)
    both.address = f"vault:{port}"
    both.start(numbers=20)

    assert both.check() == 0
    assert asked == ["vault"]


def test_an_interface_that_is_not_there_is_said(both: TwoSides) -> None:
    both.start(here={"via": ["nonesuch0"], "patience_s": 0.5}, there={"patience_s": 0.5})
    both.step()

    with pytest.raises(StageFailedError) as caught:
        both.left.outcome()
    assert caught.value.cause_code == PeerUnreachableError.code
    assert "No such device" in caught.value.cause


def test_nobody_there_is_said_after_the_patience(both: TwoSides) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        both.address = f"127.0.0.1:{free.getsockname()[1]}"
    both.start(patience_s=0.5)
    both.step()

    for pipe, words in ((both.left, "Connection refused"), (both.right, "no path for 0.5 s")):
        with pytest.raises(StageFailedError, match=words) as caught:
            pipe.outcome()
        assert caught.value.cause_code == PeerUnreachableError.code


@pytest.mark.processes
@pytest.mark.parametrize("killed", ["net_send", "net_receive"])
def test_a_stage_that_is_killed_ends_the_other_side(both: TwoSides, killed: str) -> None:
    both.start(mode=Mode.PROCESS, paths=2, delay_s=0.01, numbers=-1, patience_s=1.0)
    both.step(until=lambda: len(both.left.paths) == 2 and len(both.right.paths) == 2)
    victim, other = (both.left, both.right) if killed == "net_send" else (both.right, both.left)
    place = [stage.name for stage in victim.layout.stages].index(killed)
    task = next(task.id for task in victim.layout.tasks if task.stage == place)
    os.kill(victim.pids[task], 9)
    start = time.monotonic()
    both.step(limit=15.0)

    assert time.monotonic() - start < 10.0
    with pytest.raises(StageFailedError) as caught:
        other.outcome()
    assert caught.value.cause_code == PeerLostError.code
    assert "no path for 1 s" in caught.value.cause
    # Who is killed cannot take its door away: the monitor does.
    assert not list(Path(both.runtime).glob("door-*"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"token": "00"}, "token is not 16 bytes"),
        ({"secret": "zz"}, "secret is not 32 bytes"),
        ({"protection": "hope"}, "no protection 'hope'"),
        ({"paths": 0}, "paths is 0"),
        ({"paths": 17}, "paths is 17"),
        ({"stall_s": 0}, "more than 0"),
        ({"dial": ["nowhere"]}, "no address: 'nowhere'"),
        ({"dial": ["vault:99999"]}, "no address: 'vault:99999'"),
        ({"dial": ["a:1"], "door": "/d"}, "one of: dial, command, door"),
        ({"dial": []}, "one of: dial, command, door"),
    ],
)
def test_settings_that_make_no_sense_are_refused(both: TwoSides, wrong, words: str) -> None:
    both.start_left(1, 100, 0.0, 4, Mode.THREAD, wrong)
    both.step()

    with pytest.raises(StageFailedError, match=words) as caught:
        both.left.outcome()
    assert caught.value.cause_code == UsageError.code
    assert both.secret.hex() not in str(caught.value)


def test_a_block_that_the_other_side_has_no_room_for_is_said(both: TwoSides) -> None:
    both.start_right(1000, 4, Mode.THREAD, None, {})
    both.start_left(5, 20_000, 0.0, 4, Mode.THREAD, {})
    both.step(until=lambda: both.left.is_over)

    with pytest.raises(StageFailedError, match="a block at the other side: needs 20000"):
        both.left.outcome()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "size", "numbers"), [(400_000, 1 << 20, 2), (20_000_000, 50_000, 1500)]
)
def test_a_limit_holds(both: TwoSides, rate: int, size: int, numbers: int) -> None:
    both._numbers = numbers
    both.start_right(size, 6, Mode.THREAD, None, {"paths": 2})
    both.start_left(numbers, size, 0.0, 6, Mode.THREAD, {"paths": 2})
    both.left.set_limit(rate)
    start = time.monotonic()
    both.check()
    seconds = time.monotonic() - start

    # Never more; a busy machine may make it less, and what a quiet one does is tested by the clock
    # of test_limit.
    assert 0.5 * rate < numbers * size / seconds < 1.05 * rate
