"""``datamover completion SHELL``: print a completion script."""

from typing import Literal

from datamover.cli.answer import Drawing
from datamover.cli.app import build
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.render import show

__all__ = ["completion"]


def completion(
    shell: Literal["bash", "zsh", "fish"], /, *, everywhere: Everywhere = DEFAULTS
) -> None:
    """Print a completion script for a shell.

    Args:
        shell: Which one.
        everywhere: The options that every command takes.
    """
    script = build().generate_completion(prog_name="datamover", shell=shell)
    answer = Drawing(
        text=script.rstrip("\n") + "\n",
        json={"event": "completion", "shell": shell, "script": script},
    )
    show(answer, everywhere)
