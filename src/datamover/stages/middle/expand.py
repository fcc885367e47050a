"""Undo a compression, where it is what was done last; other blocks go on unchanged.

Role:       middle, allocating
Instances:  any
Copies:     one, made by the library
Fails:      never on data; a damaged block is dropped and reported
Death:      replaced
Source:     seed FIG. 9, 904 and 910; SPEC F3, G5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.codec.registry import make_expanders
from datamover.errors import FormatError
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import get_tag, pop_transform, set_tag, top_transform
from datamover.stages.damage import drop_damaged

if TYPE_CHECKING:
    from datamover.codec.compressor import Compressor
    from datamover.pipe.ports import MiddlePort
    from datamover.shm.buffer import Buffer
    from datamover.wire.tag import TagHeader

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="expand", role=Role.MIDDLE, allocates=True, replayable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An expand stage has none: the tags say everything."""


def run(port: MiddlePort, settings: Settings) -> None:
    """Expand until the stage before has finished.

    Raises:
        FormatError: A buffer's tag cannot be read.
        PipeError: From the port.
    """
    del settings
    expanders = make_expanders()
    for packed in port.incoming():
        tag = get_tag(packed)
        expander = expanders.get(top_transform(tag) or 0)
        if expander is None:
            port.send(packed)
        else:
            _expand(port, expander, packed, tag)


def _expand(port: MiddlePort, expander: Compressor, packed: Buffer, tag: TagHeader) -> None:
    plain = port.alloc()
    try:
        plain.used = expander.expand_into(packed.payload, plain.data, tag.transforms[-1].length)
        below = pop_transform(tag, plain.used)
    except FormatError as error:
        port.free(plain)
        drop_damaged(port, packed, tag, str(error))
        return
    set_tag(plain, below)
    port.free(packed)
    port.send(plain)
