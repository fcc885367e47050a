"""What a member of the fleet may have done here: its permissions, held against stages and depots.

A stage is known by where its settings lead.  One that is not in the table is refused, whoever
registered it: what it touches is not known.

Source: docs/spec/trust.md, section 8; docs/spec/control-protocol.md, section 1; SPEC C11, U7; D14.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import NotAllowedError
from datamover.link.authorization import Action, allow, allow_path
from datamover.link.peer import Peer
from datamover.link.permissions import Permissions

if TYPE_CHECKING:
    from pathlib import Path

    from datamover.pipe.spec import PipeSpec, StageSpec

__all__ = ["FleetPermit"]

_DEPOT: Final = {"read": Action.READ_STORE, "append": Action.APPEND_STORE}
_NOWHERE: Final = frozenset(
    {
        "checksum",
        "compress",
        "decrypt",
        "discard",
        "encrypt",
        "expand",
        "index",
        "inspect",
        "order",
        "verify",
    }
)
"""Stages that touch nothing but buffers."""

_NETWORK: Final = frozenset({"net_receive", "net_send"})
_GATES: Final = frozenset({"from_guest", "to_guest"})
_MUST_NOT_DIAL: Final = ("dial", "command")


def _restores(settings: Mapping[str, object]) -> Action:
    return Action.WRITE_PATH if settings.get("overwrite") else Action.CREATE_PATH


def _reads(_: Mapping[str, object]) -> Action:
    return Action.READ_PATH


def _writes(_: Mapping[str, object]) -> Action:
    return Action.WRITE_PATH


_LEADS: Final[Mapping[str, Mapping[str, Callable[[Mapping[str, object]], Action]]]] = {
    "collect": {"roots": _reads},
    "compare": {"roots": _reads},
    "look": {"path": _reads},
    "duplicate": {"destination": _writes, "origins": _reads},
    "match": {"roots": _reads},
    "load": {"directory": lambda _: Action.READ_STORE},
    "place": {"destination": _writes, "origins": _reads},
    "read": {"path": _reads},
    "read_stream": {"path": _reads},
    "restore": {"destination": _restores},
    "scan": {"roots": _reads},
    "sign": {"destination": _reads},
    "store": {"directory": lambda _: Action.APPEND_STORE},
    "survey": {"roots": _reads},
    "write": {"path": _writes},
    "write_stream": {"path": _writes},
}
"""Which settings of a stage lead somewhere, and what the stage does there."""

_BELOW: Final[Mapping[str, Mapping[str, str]]] = {
    "duplicate": {"destination": "targets"},
    "place": {"destination": "targets"},
    "sign": {"destination": "files"},
}
"""Settings that lead only to the names that another setting has; the stage sees to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPermit:
    """See ``monitor.permit.Permit``; each refusal is logged.

    Attributes:
        permissions: What is written about peers here.
        peer: Who asks, as its verified certificate says.
    """

    permissions: Permissions
    peer: Peer

    def extend(self, spec: PipeSpec) -> None:
        """Hold each stage of a part against what is permitted.

        Raises:
            NotAllowedError: It may run no parts, or a stage leads where it may not go.
        """
        allow(self.permissions, self.peer, Action.EXTEND)
        for stage in spec.stages:
            self._stage(stage)

    def see(self) -> None:
        """Hold the wish to see all pipes against what is permitted.

        Raises:
            NotAllowedError: It is not.
        """
        allow(self.permissions, self.peer, Action.STATUS)

    def stop(self) -> None:
        """Hold the wish to stop other's pipes against what is permitted.

        Raises:
            NotAllowedError: It is not.
        """
        allow(self.permissions, self.peer, Action.STOP)

    def depot(self, action: str, folder: Path) -> None:
        """Hold the use of a store against what is permitted; see ``depot_service.Permit``.

        Raises:
            NotAllowedError: It is not.
        """
        allow_path(self.permissions, self.peer, _DEPOT[action], str(folder))

    def look(self, path: str) -> None:
        """Hold the wish to see what is under a path against what is permitted.

        Raises:
            NotAllowedError: It is not.
        """
        allow_path(self.permissions, self.peer, Action.READ_PATH, path)

    def _stage(self, stage: StageSpec) -> None:
        if stage.use in _NOWHERE:
            return
        if stage.use in _NETWORK:
            # Whoever dials chooses an address, or a command: that is for this machine to choose.
            if any(stage.settings.get(name) for name in _MUST_NOT_DIAL):
                raise self._refusal(f"let {stage.use} dial")
            return
        if stage.use in _GATES:
            allow(self.permissions, self.peer, Action.ATTACH)
            return
        self._lead(stage)

    def _lead(self, stage: StageSpec) -> None:
        leads = _LEADS.get(stage.use)
        if leads is None:
            raise self._refusal(f"run stage {stage.use:.80}")
        for name, action in leads.items():
            paths = _paths(stage.settings.get(name, [] if name == "origins" else None))
            if below := _BELOW.get(stage.use, {}).get(name):
                names = _paths(stage.settings.get(below, "")) or [""]
                paths = [os.path.join(path, one) for path in paths for one in names]  # noqa: PTH118
            for path in paths:
                allow_path(self.permissions, self.peer, action(stage.settings), path)

    def _refusal(self, action: str) -> NotAllowedError:
        return NotAllowedError(machine=self.peer.name, action=action)


def _paths(value: object) -> list[str]:
    """Return what a setting holds, as text; what is no path becomes one that is refused."""
    values = (
        value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    )
    return [os.fsdecode(one) if isinstance(one, str | bytes) else "" for one in values]
