"""What goes in at one side of a border comes out at the other: once, in order, byte for byte.

Two pipes of two monitors in one process, tied over loopback; a porter stands for the daemon that
takes connections in, and cuts them on demand.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import Mode, PipeSpec, StageSpec
from datamover.testing.porter import Porter
from datamover.testing.stages import count, digest, gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.monitor.live import LivePipe

COUNT = 200
SIZE = 20_000


class Both:
    """Two pipes with a border between them."""

    def __init__(self, runtime: str) -> None:
        self.porter = Porter(runtime)
        self.token = os.urandom(16)
        self.secret = os.urandom(32).hex()
        self.door = f"{runtime}/door-{self.token.hex()}"
        self.monitors = (Monitor(), Monitor())
        self.notices: list[tuple[str, str, dict[str, object]]] = []
        self.left: LivePipe | None = None
        self.right: LivePipe | None = None

    def settings(self, **more: object) -> dict[str, object]:
        return {
            "token": self.token.hex(),
            "secret": self.secret,
            "protection": "clear",
            "stall_s": 1.0,
            "patience_s": 5.0,
            **more,
        }

    def start(self, *, mode: Mode = Mode.THREAD, window: int = 6, pool: int = 6, **more) -> None:
        heads = more.pop("head", count.stage(count=COUNT, size=SIZE))
        tails = more.pop("tail", gather.stage())
        dials = {"dial": [self.porter.address]} | more.pop("dials", {})
        here = self.settings(**more, **dials)
        there = self.settings(**more, door=self.door)
        receive = StageSpec(use="net_receive", settings=there, share=window)
        send = StageSpec(use="net_send", settings=here)
        self.right = self._start(1, [receive, tails], window, mode)
        self.right.wait_ready()
        self.left = self._start(0, [heads, send], pool, mode)

    def _start(self, side: int, stages: list[StageSpec], buffers: int, mode: Mode) -> LivePipe:
        return self.monitors[side].start(
            PipeSpec(
                name="border", stages=stages, buffers=buffers, buffer_size=SIZE + 100, mode=mode
            ),
            on_notice=lambda stage, _, kind, facts: self.notices.append((stage, kind, dict(facts))),
        )

    def step(self, limit: float = 30.0, until=lambda: False) -> None:
        deadline = time.monotonic() + limit
        while not (self.left.is_over and self.right.is_over) and not until():
            assert time.monotonic() < deadline, (self.notices[-20:], self.left, self.right)
            for monitor in self.monitors:
                monitor.step(0.01)

    def told(self, stage: str, kind: str) -> list[dict[str, object]]:
        return [facts for name, what, facts in self.notices if (name, what) == (stage, kind)]

    def check(self, numbers: int = COUNT) -> dict[str, object]:
        """Everything has come, in order; return what the sender left."""
        self.step()
        sent = self.left.outcome().results["net_send"][0]
        right = self.right.outcome().results
        assert right["gather"][0]["digest"] == digest(range(numbers))
        assert right["gather"][0]["grew"]
        assert right["net_receive"][0] == {"blocks": numbers, "bytes": sent["bytes"]}
        assert sent["blocks"] == numbers
        return dict(sent)

    def close(self) -> None:
        for monitor in self.monitors:
            monitor.close()
        self.porter.close()


@pytest.fixture
def both(tmp_path) -> Iterator[Both]:
    found = Both(str(tmp_path))
    yield found
    found.close()


@pytest.mark.parametrize("protection", ["clear", "sealed", "authenticated"])
def test_what_is_sent_arrives(both: Both, protection: str) -> None:
    both.start(protection=protection)

    assert both.check()["resent"] == 0


@pytest.mark.processes
def test_what_processes_send_arrives(both: Both) -> None:
    both.start(mode=Mode.PROCESS, protection="sealed", paths=2)

    assert both.check()["resent"] == 0


@pytest.mark.parametrize("paths", [2, 3, 5, 8, 16])
def test_the_number_of_paths_does_not_matter(both: Both, paths: int) -> None:
    both.start(paths=paths, protection="sealed")
    both.check()

    opened = {number for _, number in both.left.paths}
    assert opened <= set(range(paths))
    assert opened


@pytest.mark.parametrize("protection", ["clear", "sealed"])
def test_paths_that_are_cut_cost_what_they_carried(both: Both, protection: str) -> None:
    both.start(
        paths=3,
        protection=protection,
        head=count.stage(count=COUNT, size=SIZE, delay_s=0.005),
    )
    cuts = 0
    while not both.left.is_over:
        due = 3 * (cuts + 1)
        both.step(until=lambda due=due: len(both.porter.connections) >= due)
        if cuts < 4:
            both.porter.cut()
            cuts += 1
        else:
            break
    sent = both.check()

    assert cuts
    assert sent["resent"] <= cuts * 6
    assert both.told("net_send", "path lost")
