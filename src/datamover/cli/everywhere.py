"""The options that every command takes."""

# No ``from __future__ import annotations`` here and in the commands: cyclopts reads the
# annotations when the program runs, and plain ones cost it no second look.

from dataclasses import dataclass
from typing import Final

from cyclopts import Parameter

__all__ = ["DEFAULTS", "Everywhere"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Everywhere:
    """The options that every command takes.

    Attributes:
        json: Print JSON, one object a line; errors too, on standard error.
        passphrase_file: Take the passphrase from the first line of this file.
        quiet: Show neither progress nor summary; notices and errors are still shown.
    """

    json: bool = False
    passphrase_file: str | None = None
    quiet: bool = False


DEFAULTS: Final = Everywhere()
