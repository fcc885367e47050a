"""What runs is the part as its permit gave it back, not as it was asked for."""

from __future__ import annotations

import pytest

from datamover.monitor.parts_here import PartsHere
from datamover.monitor.permit import Everything
from datamover.monitor.plan import plain_of
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.wire.message import ExtendPipe


def part(path: str) -> PipeSpec:
    return PipeSpec(
        name="p",
        stages=(StageSpec(use="read", settings={"path": path}), StageSpec(use="discard")),
    )


class Rewriting(Everything):
    def extend(self, spec: PipeSpec) -> PipeSpec:
        assert spec.stages[0].settings["path"] == "/asked"
        return part("/granted")


class StartedError(Exception):
    pass


class Starts:
    """A monitor that tells what it is to start."""

    def start(self, spec: PipeSpec, **_: object) -> None:
        raise StartedError(spec.stages[0].settings["path"])


def test_what_the_permit_gives_back_is_started() -> None:
    parts = PartsHere(Starts(), "near", lambda _: None)
    message = ExtendPipe(request=1, pipe="p", part=1, spec=plain_of(part("/asked")))

    with pytest.raises(StartedError, match="/granted"):
        parts.extend(message, Rewriting())
