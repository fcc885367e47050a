"""Encrypt and seal each block where it lies, its private extensions with it.

Role:       middle
Instances:  any
Copies:     none
Fails:      RoomError when the seal does not fit behind a block; SequenceError when a block's number
            does not grow, for its nonce could be one that was used
Death:      replaced; works on copies then
Source:     SPEC E3; DESIGN D10; docs/spec/keys.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from datamover.codec.envelope import LAYER_MAX, seal_block
from datamover.codec.keys import read_hex
from datamover.codec.registry import make_cipher
from datamover.errors import SequenceError, UsageError
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import get_tag, set_tag
from datamover.wire.record import ID_SIZE

if TYPE_CHECKING:
    from datamover.pipe.ports import MiddlePort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="encrypt", role=Role.MIDDLE, replayable=True, overwrites=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one encrypt stage.

    Attributes:
        key: The archive's key, 64 hexadecimal digits; fresh for each archive.
        archive: The archive's id, 32 hexadecimal digits.
        cipher: "aes-256-gcm" or "chacha20-poly1305".
        layer: Which encryption of the pipe this is, from 0; no two stages may share one.
    """

    key: str = field(repr=False)
    archive: str
    cipher: str = "aes-256-gcm"
    layer: int = 0


def run(port: MiddlePort, settings: Settings) -> None:
    """Encrypt until the stage before has finished.

    Raises:
        UsageError: A setting makes no sense; nothing was received.
        RoomError: A seal does not fit behind a block.
        SequenceError: A block's number is not above the one before it.
        PipeError: From the port.
    """
    cipher = make_cipher(settings.cipher, read_hex("key", settings.key))
    archive = read_hex("archive", settings.archive, size=ID_SIZE)
    if not 0 <= settings.layer <= LAYER_MAX:
        raise UsageError(reason=f"layer {settings.layer} is not 0 to {LAYER_MAX}")
    last = -1
    for buffer in port.incoming():
        plain = get_tag(buffer)
        if plain.block <= last:
            raise SequenceError(sequence=plain.block, reason="its nonce could be used twice")
        last = plain.block
        tag = seal_block(plain, buffer.data, cipher=cipher, archive=archive, layer=settings.layer)
        buffer.used = tag.length
        set_tag(buffer, tag)
        port.send(buffer)
