"""Pipes on their way to another machine: a PipeSpec as plain values, and back with care.

What comes from a peer names its stages by words, so that it cannot choose what is imported, and
runs as processes, so that it cannot hold up whoever serves it.

Source: docs/spec/control-protocol.md, section 3; SPEC C3, C4; DESIGN D14.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from datamover.errors import SpecError
from datamover.link.doorway import door_path
from datamover.link.places import runtime_folder
from datamover.pipe.definition import find
from datamover.pipe.spec import Mode, PipeSpec, StageSpec

__all__ = ["plain_of", "spec_of"]

_OURS: Final = re.compile(r"datamover\.stages\.(?:head|middle|tail)\.([a-z_0-9]+):run\Z")
_HERE_ONLY: Final = frozenset({"definition", "mode"})
_MOST_STAGES: Final = 64
_NETWORK: Final = frozenset({"net_receive", "net_send"})
_WAYS: Final = ("dial", "via", "command", "door")
_TOKEN: Final = re.compile(r"[0-9a-f]{32}\Z")


def plain_of(spec: PipeSpec) -> dict[str, object]:
    """Return a pipe as plain values, without what has its default.

    Raises:
        SpecError: A stage exists in this program alone.
    """
    stages = []
    for stage in spec.stages:
        found = _plain(stage)
        found["use"] = _word(stage.use)
        stages.append(found)
    return _plain(spec) | {"stages": stages}


def spec_of(plain: dict[str, object]) -> PipeSpec:
    """Return the pipe that a peer asks for; its stages are found here.

    Its network stages wait at doors in the runtime folder: the initiator dials, never this side.

    Raises:
        SpecError: It cannot be: the text says why.
    """
    try:
        spec = msgspec.convert(plain, PipeSpec)
    except (msgspec.ValidationError, RecursionError) as error:
        raise SpecError(reason=f"pipe: {error}") from None
    if not 1 <= len(spec.stages) <= _MOST_STAGES:
        raise SpecError(reason=f"pipe: {len(spec.stages)} stages, 1 to {_MOST_STAGES} may be")
    if spec.mode is not Mode.PROCESS:
        raise SpecError(reason="pipe: a part runs in processes")
    return msgspec.structs.replace(spec, stages=tuple(map(_checked, spec.stages)))


def _plain(part: PipeSpec | StageSpec) -> dict[str, object]:
    defaults = {
        field.name: field.default
        for field in msgspec.structs.fields(part)
        if field.default is not msgspec.NODEFAULT
    }
    return {
        name: msgspec.to_builtins(value, builtin_types=(bytes,))
        for name in part.__struct_fields__
        if name not in _HERE_ONLY
        and name != "stages"
        and (value := getattr(part, name)) != defaults.get(name, msgspec.NODEFAULT)
    }


def _word(use: str) -> str:
    """Return the word that names a stage on every machine."""
    if match := _OURS.match(use):
        return match[1]
    if ":" not in use:
        return use
    raise SpecError(
        reason=f"stage {use}: another machine does not have it; "
        "register it there and here under the entry point group datamover.stages"
    )


def _checked(stage: StageSpec) -> StageSpec:
    if not stage.use.isidentifier():
        raise SpecError(reason=f"stage {stage.use!r:.100}: a peer names stages by a word")
    if stage.definition is not None or stage.mode not in {None, Mode.PROCESS}:
        raise SpecError(reason=f"stage {stage.use}: a part runs in processes")
    find(stage.use)
    return _with_door(stage) if stage.use in _NETWORK else stage


def _with_door(stage: StageSpec) -> StageSpec:
    """Have a network stage wait here; whoever dials, or chooses where, chooses what is run."""
    given = [name for name in _WAYS if stage.settings.get(name)]
    if given:
        raise SpecError(reason=f"stage {stage.use}: a peer cannot set {', '.join(given)}")
    token = stage.settings.get("token")
    if not isinstance(token, str) or not _TOKEN.match(token):
        raise SpecError(reason=f"stage {stage.use}: its token is not 32 hexadecimal digits")
    door = door_path(str(runtime_folder()), bytes.fromhex(token))
    return msgspec.structs.replace(stage, settings={**stage.settings, "door": door})
