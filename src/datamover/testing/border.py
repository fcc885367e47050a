"""Two pipes with a border between them, in one process, over loopback.

Source: docs/spec/link-protocol.md; docs/decisions/0014-two-machines.md.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from datamover.link.doorway import door_path
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import Mode, PipeSpec, StageSpec
from datamover.testing.porter import Porter
from datamover.testing.stages import count, digest, gather

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from datamover.monitor.live import LivePipe

__all__ = ["TwoSides"]


def _never() -> bool:
    return False


class TwoSides:
    """A pipe that sends to another: ``start``, then ``step`` until something, then ``check``.

    Attributes:
        porter: Stands for the daemon that takes connections in.
        address: What the sender dials; the porter, unless a test stands in between.
        notices: Stage, kind and facts of whatever the two pipes said.
        left: The pipe that sends.
        right: The pipe that receives.
    """

    def __init__(self, runtime: str) -> None:
        """Prepare, in a fresh folder."""
        self.runtime = runtime
        self.porter = Porter(runtime)
        self.address = self.porter.address
        self.token = os.urandom(16)
        self.secret = os.urandom(32)
        self.notices: list[tuple[str, str, dict[str, object]]] = []
        self.left: LivePipe
        self.right: LivePipe
        self._monitors = (Monitor(), Monitor())
        self._before: tuple[StageSpec, ...] = ()
        self._after: tuple[StageSpec, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for monitor in self._monitors:
            monitor.close()
        self.porter.close()

    def settings(self, **more: object) -> dict[str, object]:
        """Return what both network stages are told, in a hurry to give up."""
        return {
            "token": self.token.hex(),
            "secret": self.secret.hex(),
            "protection": "clear",
            "stall_s": 1.0,
            "patience_s": 5.0,
            **more,
        }

    def start(
        self,
        *,
        numbers: int = 200,
        size: int = 20_000,
        delay_s: float = 0.0,
        window: int = 6,
        pool: int = 6,
        mode: Mode = Mode.THREAD,
        tail: StageSpec | None = None,
        before: Sequence[StageSpec] = (),
        after: Sequence[StageSpec] = (),
        here: Mapping[str, object] | None = None,
        there: Mapping[str, object] | None = None,
        **both: object,
    ) -> None:
        """Start both pipes.

        Args:
            numbers: How many buffers.
            size: Bytes of each.
            delay_s: The head waits up to so long before each.
            window: Buffers of the receiving side.
            pool: Buffers of the sending side.
            mode: Of all tasks.
            tail: The last stage; by default one that checks all.
            before: Stages in front of net_send.
            after: Stages behind net_receive.
            here: Settings of net_send alone.
            there: Settings of net_receive alone.
            both: Settings of both.
        """
        self._numbers = numbers
        self._before, self._after = tuple(before), tuple(after)
        self.start_right(size, window, mode, tail, {**both, **(there or {})})
        self.start_left(numbers, size, delay_s, pool, mode, {**both, **(here or {})})

    def start_right(
        self,
        size: int,
        window: int,
        mode: Mode,
        tail: StageSpec | None,
        given: Mapping[str, object],
    ) -> None:
        """Start the receiving pipe alone."""
        door = {"door": door_path(self.runtime, self.token)}
        receive = StageSpec(use="net_receive", settings=self.settings(**{**door, **given}))
        stages = [receive, *self._after, tail or gather.stage()]
        self.right = self._start(1, stages, window, size, mode)
        self.right.wait_ready()
        if "dial" not in given:
            # A task is ready before its stage has begun.
            made = Path(door_path(self.runtime, self.token))
            self.step(until=made.exists)

    def start_left(
        self,
        numbers: int,
        size: int,
        delay_s: float,
        pool: int,
        mode: Mode,
        given: Mapping[str, object],
    ) -> None:
        """Start the sending pipe alone."""
        dial = {} if {"command", "door"} & given.keys() else {"dial": [self.address]}
        send = StageSpec(use="net_send", settings=self.settings(**{**dial, **given}))
        head = count.stage(count=numbers, size=size, delay_s=delay_s)
        self.left = self._start(0, [head, *self._before, send], pool, size, mode)

    def step(self, *, until: Callable[[], bool] = _never, limit: float = 40.0) -> None:
        """Let both pipes go on until they have ended, or ``until`` says so."""
        deadline = time.monotonic() + limit
        while not self.are_over and not until():
            assert time.monotonic() < deadline, self.notices[-20:]
            for monitor in self._monitors:
                monitor.step(0.01)

    @property
    def are_over(self) -> bool:
        """Whether all pipes that were started have ended."""
        pipes = [getattr(self, side) for side in ("left", "right") if hasattr(self, side)]
        return all(pipe.is_over for pipe in pipes)

    def told(self, kind: str, stage: str = "") -> list[str]:
        """Return the reasons of every notice of a kind."""
        return [
            str(facts.get("reason", ""))
            for name, what, facts in self.notices
            if what == kind and stage in {"", name}
        ]

    def check(self) -> int:
        """Wait for the end; everything has come once and in order.  Return what was repeated."""
        self.step()
        sent = self.left.outcome().results["net_send"][0]
        right = self.right.outcome().results
        assert right["gather"][0]["digest"] == digest(range(self._numbers))
        assert right["gather"][0]["grew"]
        assert right["net_receive"][0] == {"blocks": self._numbers, "bytes": sent["bytes"]}
        assert sent["blocks"] == self._numbers
        assert not Path(door_path(self.runtime, self.token)).exists()
        return int(str(sent["resent"]))

    def _start(
        self, side: int, stages: list[StageSpec], buffers: int, size: int, mode: Mode
    ) -> LivePipe:
        return self._monitors[side].start(
            PipeSpec(
                name="border", stages=stages, buffers=buffers, buffer_size=size + 100, mode=mode
            ),
            on_notice=lambda stage, _, kind, facts: self.notices.append((stage, kind, dict(facts))),
        )
