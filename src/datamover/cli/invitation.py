"""Where a token comes from: a file that was named, standard input, a person, or an argument.

An argument can be read by every user of the machine while the program runs; it is taken because a
token is good once and not for long, and people will paste it.

Source: DESIGN D14; docs/spec/trust.md, section 5.
"""

from __future__ import annotations

import getpass
import os
import sys
from typing import Final

from datamover.errors import TokenError, UsageError
from datamover.link.token import Token

__all__ = ["take_token"]

_LONGEST: Final = 8192


def take_token(argument: str | None, file: str | None) -> Token:
    """Return the token that was given, or ask for it.

    Args:
        argument: The token itself; None when there was none.
        file: A file whose first line it is, or `-` for standard input; None when none was named.

    Raises:
        UsageError: Both were given.
        TokenError: It is no token, there is none, or the file cannot be read.

    Blocking: until a person has typed it, when it must be asked for.
    """
    if argument is not None and file is not None:
        raise UsageError(reason="give a token or --token-file, not both")
    if file == "-":
        return Token.parse(sys.stdin.readline(_LONGEST))
    if file is not None:
        return Token.parse(_read(file))
    return Token.parse(_prompt() if argument is None else argument)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - it may be a pipe: /dev/fd/63
            return file.readline(_LONGEST).decode("ascii", "replace")
    except OSError as error:
        raise TokenError(reason=f"{path}: {error.strerror}") from None


def _prompt() -> str:
    try:
        # getpass falls back to an echoing prompt where there is no terminal; we do not.
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return getpass.getpass("token: ")
    except OSError:
        raise TokenError(reason="a token is needed, and there is no terminal to ask at") from None
    except EOFError:
        raise TokenError(reason="no token was typed") from None
