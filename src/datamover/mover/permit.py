"""What a member of the fleet may have done here: its permissions, held against stages and depots.

A stage is known by where its settings lead.  One that is not in the table is refused, whoever
registered it: what it touches is not known.

What is permitted is a path without links; the stage is given it as a straight one, so that no link
is followed that was made after the check (``datamover.disk.straight``).

Source: docs/spec/trust.md, section 8; docs/spec/control-protocol.md, section 1; SPEC C11, U7; D14.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeGuard

import msgspec

from datamover.disk.straight import make_straight
from datamover.errors import NotAllowedError
from datamover.link.authorization import Action, Resolved, allow, allow_path, allow_resolved
from datamover.link.peer import Peer
from datamover.link.permissions import Permissions

if TYPE_CHECKING:
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


_ELSEWHERE: Final = ("medium",)
"""Settings that lead off this machine, with its credentials: no peer chooses them."""


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

_KEPT: Final = frozenset(
    {
        ("collect", "roots"),
        ("compare", "roots"),
        ("duplicate", "origins"),
        ("look", "path"),
        ("match", "roots"),
        ("place", "origins"),
        ("scan", "roots"),
        ("survey", "roots"),
    }
)
"""Settings whose last component is the name of what is moved, and is not followed by the stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPermit:
    """See ``monitor.permit.Permit``; each refusal is logged.

    Attributes:
        permissions: What is written about peers here.
        peer: Who asks, as its verified certificate says.
    """

    permissions: Permissions
    peer: Peer

    def extend(self, spec: PipeSpec) -> PipeSpec:
        """Hold each stage of a part against what is permitted.

        Returns:
            The part to run, with straight paths to what is permitted.

        Raises:
            NotAllowedError: It may run no parts, or a stage leads where it may not go.
        """
        allow(self.permissions, self.peer, Action.EXTEND)
        return msgspec.structs.replace(spec, stages=tuple(map(self._stage, spec.stages)))

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

    def depot(self, action: str, folder: Path) -> Path:
        """Hold the use of a store against what is permitted; see ``depot_service.Permit``.

        Returns:
            The store's folder, without links.

        Raises:
            NotAllowedError: It is not.
        """
        return Path(allow_path(self.permissions, self.peer, _DEPOT[action], str(folder)).path)

    def look(self, path: str) -> tuple[str, str]:
        """Hold the wish to see what is under a path against what is permitted.

        Returns:
            Straight paths to what it names, and to where that leads.

        Raises:
            NotAllowedError: It is not.
        """
        named = self._path(Action.READ_PATH, path, keeps_name=True)
        return named, self._path(Action.READ_PATH, path, keeps_name=False)

    def _stage(self, stage: StageSpec) -> StageSpec:
        if stage.use in _NOWHERE:
            return stage
        if stage.use in _NETWORK:
            # Whoever dials chooses an address, or a command: that is for this machine to choose.
            if any(stage.settings.get(name) for name in _MUST_NOT_DIAL):
                raise self._refusal(f"let {stage.use} dial")
            return stage
        if stage.use in _GATES:
            allow(self.permissions, self.peer, Action.ATTACH)
            return stage
        return self._lead(stage)

    def _lead(self, stage: StageSpec) -> StageSpec:
        leads = _LEADS.get(stage.use)
        if leads is None:
            raise self._refusal(f"run stage {stage.use:.80}")
        if any(stage.settings.get(name) for name in _ELSEWHERE):
            raise self._refusal(f"choose the medium of {stage.use}")
        settings = dict(stage.settings)
        for name, lead in leads.items():
            value = settings.get(name, [] if name == "origins" else None)
            action, keeps = lead(stage.settings), (stage.use, name) in _KEPT
            if below := _BELOW.get(stage.use, {}).get(name):
                names = _paths(settings.get(below, "")) or [""]
                paths = [self._folder(action, path, names) for path in _paths(value)]
            else:
                paths = [self._path(action, path, keeps_name=keeps) for path in _paths(value)]
            settings[name] = paths if _is_list(value) else paths[0]
            if stage.use == "look":
                asked = _paths(value) or [""]
                settings["path"], settings["real"] = self.look(asked[0])
        return msgspec.structs.replace(stage, settings=settings)

    def _path(self, action: Action, path: str, *, keeps_name: bool) -> str:
        """Return the straight path to what is permitted."""
        grant = allow_path(self.permissions, self.peer, action, path, keeps_name=keeps_name)
        return make_straight(grant.path)

    def _folder(self, action: Action, path: str, names: Sequence[str]) -> str:
        """Return the straight path of a folder in which these names are permitted, and no others.

        The stage follows no link below the folder, so a name must be permitted where it is, and
        where it leads besides.
        """
        for name in names:
            below = os.path.join(path, name)  # noqa: PTH118 - text
            allow_path(self.permissions, self.peer, action, below)
        real = os.path.realpath(path)
        for name in names:
            below = os.path.normpath(f"{real}/{name}")
            # Once more, and without a look at the links that may have changed meanwhile.
            allow_resolved(self.permissions, self.peer, action, Resolved(below, below))
        return make_straight(real)

    def _refusal(self, action: str) -> NotAllowedError:
        return NotAllowedError(machine=self.peer.name, action=action)


def _paths(value: object) -> list[str]:
    """Return what a setting holds, as text; what is no path becomes one that is refused."""
    values = value if _is_list(value) else [value]
    return [os.fsdecode(one) if isinstance(one, str | bytes) else "" for one in values]


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
