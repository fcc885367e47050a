"""Give the network tasks of a part, which another machine asked for, doors in this one's folder.

Whoever asks dials; it does not know where sockets are here, and is not asked.

Source: docs/spec/link-protocol.md, section 2; docs/decisions/0014-two-machines.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import SpecError
from datamover.link.door import door_path
from datamover.link.places import runtime_folder

if TYPE_CHECKING:
    from datamover.pipe.spec import PipeSpec, StageSpec

__all__ = ["with_doors"]

_NETWORK: Final = frozenset({"net_receive", "net_send"})


def with_doors(spec: PipeSpec) -> PipeSpec:
    """Return the part with a door for each of its borders.

    Raises:
        SpecError: A border has no token, or says itself where its door is.
        UnsafeFileError: The runtime folder is not this user's alone.
        OSError: It cannot be made.
    """
    return msgspec.structs.replace(spec, stages=tuple(map(_with_door, spec.stages)))


def _with_door(stage: StageSpec) -> StageSpec:
    if stage.use not in _NETWORK or stage.settings.get("dial") or stage.settings.get("command"):
        return stage
    try:
        token = bytes.fromhex(str(stage.settings.get("token", "")))
    except ValueError:
        token = b""
    if not token or stage.settings.get("door"):
        raise SpecError(reason=f"stage {stage.use}: a token and no door is what a peer gives")
    door = door_path(str(runtime_folder()), token)
    return msgspec.structs.replace(stage, settings={**stage.settings, "door": door})
