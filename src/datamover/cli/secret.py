"""Where a passphrase comes from: a file that was named, the environment, or a person.

Never from an argument, which every user of the machine can read.  The variable is taken out of
the environment when it is read, so that no task inherits it.

Source: DESIGN D10, D14; docs/reference/cli.md, "Passphrases".
"""

from __future__ import annotations

import getpass
import os
from typing import Final

from datamover.errors import PassphraseError

__all__ = ["VARIABLE", "Passphrase", "prompt", "take_from_environment"]

VARIABLE: Final = "DATAMOVER_PASSPHRASE"
_LONGEST: Final = 4096


class Passphrase:
    """Finds the passphrase when it is asked for, which may be never.

    Args:
        file: The file that was named; None when none was.
        twice: Ask a person twice, because a slip would lock the store for ever.
    """

    def __init__(self, file: str | None, *, twice: bool = False) -> None:
        self._file = file
        self._twice = twice
        # At once, whether it will be needed or not: tasks start before a store asks.
        self._given = take_from_environment()

    def __call__(self) -> bytes:
        """Return the passphrase.

        Raises:
            PassphraseError: There is none: an empty file or variable, no terminal to ask at, or
                two answers that differ.

        Blocking: until a person has typed it, when it must be asked for.
        """
        if self._file is not None:
            return _read(self._file)
        if self._given is not None:
            return _not_empty(self._given, f"{VARIABLE} is empty")
        return prompt(twice=self._twice)


def take_from_environment() -> bytes | None:
    """Remove the passphrase from the environment and return it."""
    return os.environb.pop(VARIABLE.encode(), None)


def prompt(*, twice: bool) -> bytes:
    """Ask at the terminal, without echo.

    Raises:
        PassphraseError: No terminal, no answer, or two that differ.
    """
    try:
        # getpass falls back to an echoing prompt where there is no terminal; we do not.
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        first = getpass.getpass("passphrase: ")
        again = getpass.getpass("passphrase, again: ") if twice else first
    except OSError:
        raise PassphraseError(
            reason="a passphrase is needed, and there is no terminal to ask at"
        ) from None
    except EOFError:
        raise PassphraseError(reason="no passphrase was typed") from None
    if first != again:
        raise PassphraseError(reason="the two passphrases differ")
    return _not_empty(os.fsencode(first), "the passphrase is empty")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - it may be a pipe: /dev/fd/63
            line = file.readline(_LONGEST + 1)
    except OSError as error:
        raise PassphraseError(reason=f"{path}: {error.strerror}") from None
    if len(line) > _LONGEST:
        raise PassphraseError(reason=f"{path}: its first line is longer than {_LONGEST} bytes")
    return _not_empty(line.removesuffix(b"\n").removesuffix(b"\r"), f"{path}: no passphrase in it")


def _not_empty(passphrase: bytes, otherwise: str) -> bytes:
    if not passphrase:
        raise PassphraseError(reason=otherwise)
    return passphrase
