"""What is served to peers beside pipes: every service of the layers below, as one.

Source: docs/spec/control-protocol.md, section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.mover.depot_service import DepotService

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from datamover.monitor.worker import Method, Service
    from datamover.mover.depot_service import Permit

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


def services(permit: Permit | None = None) -> Service:
    """Make the services of one conversation.

    Args:
        permit: What the other side may do; None: it is the user whose processes run here.
    """
    return _Together([DepotService(permit or _permit_everything)])


def _permit_everything(action: str, place: Path) -> None:
    """What the user may not do, the system refuses."""
