"""The application: the grammar, given to cyclopts.

Commands are registered by name and imported when they are called, so that a command pays for
itself alone.

Source: DESIGN D15; docs/reference/cli.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cyclopts import App, CycloptsError, Parameter

from datamover.cli.grammar import COMMANDS, GROUPS
from datamover.cli.release import release
from datamover.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.cli.grammar import Command

__all__ = ["build", "run"]

_SUMMARY: Final = "Move, back up and restore data at the speed of the hardware."
_EXAMPLES: Final = """Examples:

  datamover init /mnt/backup
  datamover backup /home --to /mnt/backup
  datamover archives /mnt/backup
  datamover restore --from /mnt/backup --to /tmp/back

The passphrase comes from --passphrase-file, DATAMOVER_PASSPHRASE, or a prompt.
"""
_FLAGS: Final = frozenset({"--json", "--quiet"})
_WITH_VALUE: Final = "--passphrase-file"


def build() -> App:
    """Make the application; no command is imported."""
    app = App(
        name="datamover",
        help=_SUMMARY,
        help_epilogue=_EXAMPLES,
        help_format="plaintext",
        version=release,
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,
    )
    groups = {word: App(name=word, help=text, help_epilogue="") for word, text in GROUPS.items()}
    for group in groups.values():
        app.command(group)
    for command in COMMANDS:
        parent = groups[command.words[0]] if len(command.words) > 1 else app
        parent.command(
            command.function,
            name=command.words[-1],
            help=command.summary,
            help_epilogue=_epilogue(command),
            usage=f"Usage: datamover {' '.join(command.words)} {command.usage}",
        )
    return app


def run(arguments: Sequence[str]) -> int:
    """Parse the arguments, run the command they name and return its exit status.

    Raises:
        UsageError: They do not parse; nothing was done.
        DataMoverError: From the command.
    """
    tokens = _globals_after_command(list(arguments))
    try:
        status = build()(
            tokens, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        raise UsageError(reason=_reason(error)) from error
    return int(status or 0)


def _epilogue(command: Command) -> str:
    return "\n".join(["Examples:", "", *(f"  {example}" for example in command.examples), ""])


def _reason(error: CycloptsError) -> str:
    """Return cyclopts' own words, as a message of ours: lowercase, one line, no full stop."""
    text = " ".join(str(error).split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _globals_after_command(tokens: list[str]) -> list[str]:
    """Let `datamover --json archives STORE` mean `datamover archives --json STORE`."""
    end = 0
    while end < len(tokens) and tokens[end].split("=", 1)[0] in {*_FLAGS, _WITH_VALUE}:
        end += 2 if tokens[end] == _WITH_VALUE else 1
    words = tokens[end : end + 1]
    if words and words[0] in GROUPS:
        words = tokens[end : end + 2]
    if not words or words[-1].startswith("-"):
        return tokens
    return [*words, *tokens[:end], *tokens[end + len(words) :]]
