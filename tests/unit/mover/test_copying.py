"""A copy's pipes: between two machines the source may keep as much as the other side grants."""

from __future__ import annotations

import pytest

from datamover.codec.codec import Codec
from datamover.mover.copying import Plan, copying
from datamover.mover.route import WINDOW
from datamover.mover.targets import Target


def head_share(*, target_at: str, compares: bool) -> int:
    plan = Plan(
        sources=(),
        target=Target(base="/back", names=()),
        target_at=target_at,
        compares=compares,
        kernel=False,
        codec=Codec.parse("none"),
        jobs=2,
    )
    reading = {"scan", "compare"}
    return next(stage.share for stage in copying(plan).stages if stage.use in reading)


@pytest.mark.parametrize("compares", [False, True])
def test_the_window_to_another_machine_is_beside_what_is_being_filled(compares: bool) -> None:
    here = head_share(target_at="", compares=compares)

    assert here >= 4
    assert head_share(target_at="vault", compares=compares) == here + WINDOW
