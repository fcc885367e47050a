"""How many paths data takes: as many as were asked for, else some, and more where they may help."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from datamover.monitor.reach import Reached
from datamover.mover.route import Route, place_of
from datamover.pipe.split import Border
from datamover.wire.frame import MOST_PATHS

if TYPE_CHECKING:
    from datamover.monitor.peer import Peer

BORDER = Border(number=0, before=0, after=1, token=bytes(16), secret=bytes(32))
DAEMON = Reached(peer=cast("Peer", None), addresses=("192.0.2.7:4747",))
SHELL = Reached(peer=cast("Peer", None), path_command=("ssh", "vault"))


@pytest.mark.parametrize(
    ("reached", "asked", "paths", "first"),
    [
        (DAEMON, 0, MOST_PATHS, 4),
        (DAEMON, 3, 3, 0),
        (SHELL, 0, 1, 0),
        (SHELL, 2, 2, 0),
    ],
)
def test_both_sides_know_of_as_many_paths_and_who_dials_may_begin_with_fewer(
    reached: Reached, asked: int, paths: int, first: int
) -> None:
    place = place_of(reached, Route(paths=asked))

    assert place.accepting(BORDER)["paths"] == place.dialing(BORDER)["paths"] == paths
    assert place.dialing(BORDER).get("first", 0) == first
    assert "first" not in place.accepting(BORDER)
