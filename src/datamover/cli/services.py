"""What is served to peers beside pipes: every service of the layers below, as one.

Source: docs/spec/control-protocol.md, section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from datamover.link.places import runtime_folder
from datamover.monitor.here_service import HereService
from datamover.monitor.permit import Everything, Permit
from datamover.mover.depot_service import DepotService
from datamover.mover.look_service import LookService

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from datamover.monitor.worker import Method, Service

__all__ = ["services"]


class _Together:
    """Several services as one."""

    def __init__(self, parts: Sequence[Service]) -> None:
        self._parts = parts

    def methods(self) -> Mapping[str, Method]:
        return {name: method for part in self._parts for name, method in part.methods().items()}

    def close(self) -> None:
        for part in self._parts:
            part.close()


class _Depots(Permit, Protocol):
    """What a member may do with pipes, and with stores."""

    def depot(self, action: str, folder: Path) -> Path:
        """May it do this with the store in ``folder``?  See ``depot_service.Permit``."""
        ...

    def look(self, path: str) -> tuple[str, str]:
        """May it see what is under ``path``?  See ``look_service.Permit``."""
        ...


def services(permit: _Depots | None = None) -> Service:
    """Make the services of one conversation.

    Args:
        permit: What the other side may do; None: it is the user whose processes run here.
    """
    return _Together(
        [
            DepotService(permit.depot if permit else _permit_everything),
            LookService(permit.look if permit else _permit_every_look),
            HereService(runtime_folder(), permit or Everything()),
        ]
    )


def _permit_everything(_: str, place: Path) -> Path:
    """What the user may not do, the system refuses."""
    return place


def _permit_every_look(path: str) -> tuple[str, str]:
    """Likewise."""
    return path, ""
