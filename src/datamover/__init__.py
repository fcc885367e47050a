"""Move, back up and restore data at the speed of the hardware.

The names here are the Python API; each is imported when it is first used, so that a command that
needs few of them starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datamover.monitor.live import LivePipe, Outcome
    from datamover.monitor.local import LocalMonitor
    from datamover.monitor.supervisor import Monitor, run
    from datamover.pipe.definition import head, middle, tail
    from datamover.pipe.ports import HeadPort, MiddlePort, TailPort
    from datamover.pipe.spec import Mode, OnDeath, OnQuota, PipeSpec, StageSpec, load_spec
    from datamover.pipe.stage import FanOut, Role, StageInfo

__version__ = "0.1.0"

__all__ = [
    "FanOut",
    "HeadPort",
    "LivePipe",
    "LocalMonitor",
    "MiddlePort",
    "Mode",
    "Monitor",
    "OnDeath",
    "OnQuota",
    "Outcome",
    "PipeSpec",
    "Role",
    "StageInfo",
    "StageSpec",
    "TailPort",
    "__version__",
    "head",
    "load_spec",
    "middle",
    "run",
    "tail",
]

_PLACES: Final = {
    "datamover.monitor.live": ("LivePipe", "Outcome"),
    "datamover.monitor.local": ("LocalMonitor",),
    "datamover.monitor.supervisor": ("Monitor", "run"),
    "datamover.pipe.definition": ("head", "middle", "tail"),
    "datamover.pipe.ports": ("HeadPort", "MiddlePort", "TailPort"),
    "datamover.pipe.spec": ("Mode", "OnDeath", "OnQuota", "PipeSpec", "StageSpec", "load_spec"),
    "datamover.pipe.stage": ("FanOut", "Role", "StageInfo"),
}


def __getattr__(name: str) -> object:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(name)
