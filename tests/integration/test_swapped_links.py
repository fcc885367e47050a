"""A link that takes a folder's place between the check and the use of a path leads nowhere.

Each case runs twice in processes: as a member of the fleet has it, held against its permissions
before the swap, and as it was asked, which shows that the swap would have led out.
SPEC U7; docs/spec/trust.md, section 8.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from datamover.errors import DataMoverError
from datamover.link.peer import Peer
from datamover.link.permissions import PeerEntry, Permissions, Place
from datamover.monitor.supervisor import run
from datamover.mover.permit import FleetPermit
from datamover.pipe.spec import PipeSpec, StageSpec

pytestmark = pytest.mark.processes

PEER = Peer(name="laptop", machine="0" * 32, fleet="1" * 32)
SECRET = b"nobody else's business"
OURS = SECRET.upper()
CASES = {
    "scan and collect": [
        ("scan", {"roots": ["{in}/a/b"]}),
        ("collect", {"roots": ["{in}/a/b"]}),
        ("restore", {"destination": "{out}/c"}),
    ],
    "collect alone": [
        ("scan", {"roots": ["{out}/b"]}),
        ("collect", {"roots": ["{in}/a/b"]}),
        ("restore", {"destination": "{out}/c"}),
    ],
    "survey and origins": [
        ("survey", {"roots": ["{in}/a/b"]}),
        (
            "place",
            {
                "destination": "{out}",
                "sources": ["b"],
                "targets": ["c"],
                "origins": ["{in}/a/b"],
            },
        ),
    ],
    "duplicate": [
        ("survey", {"roots": ["{in}/a/b"]}),
        *(
            (
                use,
                {
                    "destination": "{out}",
                    "sources": ["b"],
                    "targets": ["c"],
                    "origins": ["{in}/a/b"],
                },
            )
            for use in ("duplicate", "place")
        ),
    ],
    "read": [("read", {"path": "{in}/a/b/file"}), ("write", {"path": "{out}/c"})],
    "write": [("read", {"path": "{out}/b/file"}), ("write", {"path": "{in}/a/b/new"})],
    "write over": [("read", {"path": "{out}/b/file"}), ("write", {"path": "{in}/a/b/file"})],
    "restore": [
        ("scan", {"roots": ["{out}/b"]}),
        ("collect", {"roots": ["{out}/b"]}),
        ("restore", {"destination": "{in}/a/b", "overwrite": True}),
    ],
    "restore into what is made": [
        ("scan", {"roots": ["{out}/b"]}),
        ("collect", {"roots": ["{out}/b"]}),
        ("restore", {"destination": "{in}/a/b/new/folder"}),
    ],
    "place": [
        ("survey", {"roots": ["{out}/b"]}),
        (
            "place",
            {
                "destination": "{in}/a/b",
                "sources": ["b"],
                "targets": ["c"],
                "origins": ["{out}/b"],
            },
        ),
    ],
}


@dataclass
class Ground:
    """What is permitted (``in`` and ``out``), and what is not (``away``)."""

    top: Path

    def spec(self, case: str) -> PipeSpec:
        def filled(value: object) -> object:
            if isinstance(value, list):
                return [filled(one) for one in value]
            if isinstance(value, str):
                value = value.replace("{in}", f"{self.top}/in")
                return value.replace("{out}", f"{self.top}/out")
            return value

        stages = [
            StageSpec(use=use, settings={name: filled(one) for name, one in settings.items()})
            for use, settings in CASES[case]
        ]
        return PipeSpec(name="p", stages=stages, buffers=8, buffer_size=65536)

    def permit(self) -> FleetPermit:
        places = tuple(Place(at=f"{self.top}/{one}", may="write") for one in ("in", "out"))
        entry = PeerEntry(machine="laptop", extend=True, path=places)
        return FleetPermit(permissions=Permissions((entry,)), peer=PEER)

    def swap(self, below: str) -> None:
        """Let a folder of ``in`` be a link to the same folder of ``away``."""
        (self.top / "in" / below).rename(self.top / "in" / "old")
        (self.top / "in" / below).symlink_to(self.top / "away" / below)

    def led_out(self) -> bool:
        """Say whether something was written to ``away``, or read there and written to ``out``."""
        away = {
            path.relative_to(self.top / "away"): path.read_bytes() if path.is_file() else b""
            for path in (self.top / "away").rglob("*")
        }
        untouched = sorted(map(str, away)) == ["a", "a/b", "a/b/file"]
        said = any(SECRET in path.read_bytes() for path in self.written() if path.is_file())
        return not untouched or SECRET not in away.popitem()[1] or said

    def written(self) -> list[Path]:
        return [
            path
            for place in ("in", "out")
            for path in (self.top / place).rglob("*")
            if not path.is_symlink()
        ]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    for folder, data in (("in/a/b", OURS), ("out/b", OURS), ("away/a/b", SECRET)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_bytes(data)
        # As a file that is not the one looked at is marked as changed, all are alike in time.
        os.utime(tmp_path / folder / "file", (1, 1))
    return Ground(tmp_path)


def run_if_it_does(spec: PipeSpec) -> None:
    try:
        run(spec)
    except DataMoverError:
        return


@pytest.mark.parametrize("swapped", ["a", "a/b"])
@pytest.mark.parametrize("case", CASES)
def test_a_link_that_came_after_the_check_leads_nowhere(ground, case, swapped):
    spec = ground.permit().extend(ground.spec(case))
    ground.swap(swapped)
    run_if_it_does(spec)

    assert not ground.led_out()


@pytest.mark.parametrize("case", CASES)
def test_without_the_check_the_same_link_leads_out(ground, case):
    spec = ground.spec(case)
    ground.swap("a")
    run_if_it_does(spec)

    assert ground.led_out()


@pytest.mark.parametrize("case", CASES)
def test_where_nothing_is_swapped_a_member_has_what_it_asked_for(ground, case):
    (ground.top / "in" / "a" / "b" / "file").write_bytes(b"theirs")
    before = {path: path.is_file() and path.read_bytes() for path in ground.written()}
    run(ground.permit().extend(ground.spec(case)))

    after = {path: path.is_file() and path.read_bytes() for path in ground.written()}
    assert after != before
    assert not ground.led_out()
