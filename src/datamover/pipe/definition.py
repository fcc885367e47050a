"""A stage that can be run: what it declares, its settings' type, and its function.

Stages are found by name: those of this package, those that another package registers under the
entry point group ``datamover.stages``, and any function given as "package.module:function".

Source: seed, "Salient Features" 1 (modules are easily changed); SPEC A5, A27; DESIGN D6.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Final

import msgspec

from datamover.errors import SpecError
from datamover.pipe.spec import Mode, OnDeath, OnQuota, StageSpec
from datamover.pipe.stage import FanOut, Role, StageInfo

__all__ = ["Definition", "find", "head", "middle", "tail"]

_GROUP: Final = "datamover.stages"
_WITH_SETTINGS: Final = 2

Run = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Definition:
    """A stage: call it like the function it was made from, or put it into a pipe with ``stage``."""

    info: StageInfo
    run: Run
    settings: type | None
    reference: str

    def __call__(self, *given: object) -> None:
        """Run the stage's function, as in a test."""
        self.run(*given)

    def stage(
        self,
        *,
        name: str = "",
        instances: int = 1,
        share: int = 0,
        on_quota: OnQuota = OnQuota.WAIT,
        on_death: OnDeath | None = None,
        mode: Mode | None = None,
        joined: bool = False,
        at: str = "",
        **settings: object,
    ) -> StageSpec:
        """Return this stage as a part of a pipe; ``settings`` are its own."""
        return StageSpec(
            use=self.reference,
            name=name or self.info.name,
            instances=instances,
            settings=settings,
            share=share,
            on_quota=on_quota,
            on_death=on_death,
            mode=mode,
            joined=joined,
            at=at,
            definition=self,
        )

    def convert(self, settings: Mapping[str, object]) -> object:
        """Turn a plain mapping into the stage's settings.

        Raises:
            SpecError: A setting is unknown or of the wrong type; the text names it.
        """
        if self.settings is None:
            if settings:
                names = ", ".join(sorted(settings))
                raise SpecError(reason=f"stage {self.info.name} takes no settings: {names}")
            return None
        known = {f.name for f in msgspec.inspect.type_info(self.settings).fields}  # type: ignore[attr-defined]
        unknown = sorted(set(settings) - known)
        if unknown:
            raise SpecError(
                reason=f"stage {self.info.name}: unknown setting: {', '.join(unknown)}; "
                f"there are: {', '.join(sorted(known))}"
            )
        try:
            return msgspec.convert(settings, self.settings)
        except msgspec.ValidationError as error:
            raise SpecError(reason=f"stage {self.info.name}: {error}") from None


def head(function: Run | None = None, *, parallel: bool = True) -> Definition:
    """Make a head of a function of (port) or (port, settings)."""
    return _decorate(function, StageInfoParts(Role.HEAD, allocates=True, parallel=parallel))


def middle(
    function: Run | None = None,
    *,
    allocates: bool = False,
    parallel: bool = True,
    fan_out: FanOut = FanOut.ONE,
    replayable: bool = False,
    overwrites: bool = False,
) -> Definition:
    """Make a middle of a function of (port) or (port, settings); see ``StageInfo``."""
    parts = StageInfoParts(
        Role.MIDDLE,
        allocates=allocates,
        parallel=parallel,
        fan_out=fan_out,
        replayable=replayable,
        overwrites=overwrites,
    )
    return _decorate(function, parts)


def tail(function: Run | None = None, *, parallel: bool = True) -> Definition:
    """Make a tail of a function of (port) or (port, settings)."""
    return _decorate(function, StageInfoParts(Role.TAIL, allocates=False, parallel=parallel))


@dataclass(frozen=True, slots=True)
class StageInfoParts:
    """What a decorator knows before it sees the function."""

    role: Role
    allocates: bool
    parallel: bool
    fan_out: FanOut = FanOut.ONE
    replayable: bool = False
    overwrites: bool = False


def _decorate(function: Run | None, parts: StageInfoParts) -> Definition:
    if function is None:
        return lambda given: _decorate(given, parts)  # type: ignore[return-value]
    info = StageInfo(
        name=function.__name__,
        role=parts.role,
        allocates=parts.allocates,
        parallel=parts.parallel,
        fan_out=parts.fan_out,
        replayable=parts.replayable,
        overwrites=parts.overwrites,
    )
    reference = f"{function.__module__}:{function.__qualname__}"
    return Definition(info, function, _settings_of(function), reference)


def _settings_of(function: Run) -> type | None:
    parameters = list(inspect.signature(function, eval_str=False).parameters.values())
    if len(parameters) < _WITH_SETTINGS:
        return None
    annotation = parameters[1].annotation
    if isinstance(annotation, str):
        annotation = function.__globals__.get(annotation)
    if not (isinstance(annotation, type) and is_dataclass(annotation)):
        raise SpecError(
            reason=f"{function.__qualname__}: annotate its second parameter with a dataclass"
        )
    return annotation


def find(use: str) -> Definition:
    """Return the stage called ``use``.

    Raises:
        SpecError: There is none, or what is there is no stage.
    """
    if ":" in use:
        return _by_reference(use)
    if use.isidentifier():
        for role in Role:
            module = f"{_GROUP}.{role.value}.{use}"
            if importlib.util.find_spec(module) is not None:
                return _of_module(module)
    # Only now: reading the entry points of every installed package takes milliseconds.
    from importlib.metadata import entry_points  # noqa: PLC0415

    for entry in entry_points(group=_GROUP, name=use):
        return _by_reference(entry.value)
    raise SpecError(reason=f"no stage is called {use}; write package.module:function for your own")


def _by_reference(use: str) -> Definition:
    module_name, _, path = use.partition(":")
    try:
        found: object = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        # Beside what is missing: a relative or empty name, a zero byte, a file that is no Python.
        raise SpecError(reason=f"stage {use}: {error}") from None
    if isinstance(found, Definition):
        return found
    if path == "run" and hasattr(importlib.import_module(module_name), "STAGE"):
        return _of_module(module_name)
    raise SpecError(reason=f"stage {use}: it is not decorated with head, middle or tail")


def _of_module(name: str) -> Definition:
    module = importlib.import_module(name)
    try:
        return Definition(module.STAGE, module.run, module.Settings, f"{name}:run")
    except AttributeError as error:
        raise SpecError(reason=f"stage {name}: {error}") from None
