"""A head start for commands that run pipes: the fork server, before anything else is imported.

What the stages need is imported once, by the command that needs most of it anyway, and the server
is forked while the command has nothing else in it and one thread.

Source: docs/decisions/0012-fork-the-server-early.md; DESIGN D2 (start-up).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from datamover.cli.grammar import COMMANDS
from datamover.cli.secret import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["give_head_start"]


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
    return True
