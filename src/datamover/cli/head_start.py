"""A head start for what runs pipes: the fork server, before anything else is there.

What the stages need is imported once, by the command that needs most of it anyway, and the server
is forked while the command has nothing else in it and one thread.  A daemon does so, too, so that
who asks it for a pipe waits for no Python to start.

Source: docs/decisions/0012-fork-the-server-early.md; DESIGN D2 (start-up).
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.cli.grammar import COMMANDS
from datamover.cli.secret import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SERVING", "drop_head_start", "give_head_start", "start_serving"]

SERVING: Final = (
    "datamover.stages.head.load",
    "datamover.stages.head.net_receive",
    "datamover.stages.head.sign",
    "datamover.stages.head.survey",
    "datamover.stages.tail.net_send",
    "datamover.stages.tail.place",
    "datamover.stages.tail.restore",
    "datamover.stages.tail.store",
)
"""What others want most often to run here."""

_STORES: Final = ("--from", "--to")
"""Options that name a store; where both are given, it is the first that does."""


def give_head_start(arguments: Sequence[str]) -> bool:
    """Import what the tasks of a command need, and fork their server; whether it runs any.

    It only looks for the command's name: that the rest makes sense is seen later, and a server
    that nobody takes is dropped at the end.
    """
    lists = {command.words[0]: command.stages for command in COMMANDS}
    word = next((one for one in arguments if one in lists), "")
    module, _, name = lists.get(word, "").partition(":")
    if not module or not {"-h", "--help"}.isdisjoint(arguments):
        return False
    # Late: a command that runs no pipe must not pay for them.
    from datamover.monitor import launcher  # noqa: PLC0415 - as above

    for stage in getattr(importlib.import_module(module), name):
        importlib.import_module(stage)
    launcher.prepare(without=[VARIABLE])
    _open_soon(arguments)
    return True


def drop_head_start() -> None:
    """Let go of what ``give_head_start`` gave and the command did not take.

    Blocking: until it is gone.
    """
    from datamover.monitor.launcher import drop_prepared  # noqa: PLC0415 - is there by now
    from datamover.mover.opener import drop_opening  # noqa: PLC0415 - likewise

    drop_prepared()
    drop_opening()


def _open_soon(arguments: Sequence[str]) -> None:
    """Begin to derive the key of the store that the command will open, as far as can be seen.

    Not where a passphrase file is named, which may give what it holds only once.
    """
    passphrase = os.environb.get(VARIABLE.encode())
    options = [one for one in arguments if one.startswith("--")]
    if not passphrase or any(one.startswith(("--passphrase", "--dry")) for one in options):
        return
    # Late: it has a thread, and those must not be there before the fork.
    from datamover.mover.opener import begin_opening  # noqa: PLC0415 - as above

    for option in _STORES:
        where = _value(arguments, option)
        if where:
            begin_opening(Path(where), passphrase)
            return


def _value(arguments: Sequence[str], option: str) -> str:
    """Return what the option is given, as far as can be seen; empty when it is not."""
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == option:
            return after
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""


def start_serving() -> None:
    """Import what others will want to run here, and fork a server for it."""
    from datamover.monitor import launcher  # noqa: PLC0415 - `--version` must not pay for it

    for stage in SERVING:
        importlib.import_module(stage)
    launcher.prepare(without=[VARIABLE])
