"""The command line as a test sees it: commands as jobs, with a passphrase and nothing to ask at.

Source: docs/reference/cli.md; docs/STYLE.md, "Tests".
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final

from datamover.testing.job import Ended, Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Program"]

_PASSPHRASE: Final = "correct"  # noqa: S105  it protects what a test made up


class Program:
    """Runs ``datamover`` with ``--json``, as processes of their own.

    Args:
        passphrase: given in the environment; None for none.
        prefix: put in front of every command, such as ``setpriv`` with its options.
    """

    def __init__(self, *, passphrase: str | None = _PASSPHRASE, prefix: Sequence[str] = ()) -> None:
        self.environment: Mapping[str, str] = (
            {} if passphrase is None else {"DATAMOVER_PASSPHRASE": passphrase}
        )
        self._prefix = tuple(prefix)

    def command(self, *arguments: str | Path) -> list[str]:
        """Return what to start for some arguments."""
        words = (sys.executable, "-m", "datamover", *map(str, arguments), "--json")
        return [*self._prefix, *words]

    def start(self, *arguments: str | Path) -> Job:
        """Start a command and leave it running."""
        return Job(self.command(*arguments), environment=self.environment)

    def run(self, *arguments: str | Path, timeout: float = 60) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments).wait(timeout=timeout)

    def backup(self, source: Path, store: Path, *, name: str = "") -> Ended:
        """Back up one tree."""
        named = ("--name", name) if name else ()
        return self.run("backup", source, "--to", store, *named)

    def restore(self, store: Path, into: Path, *paths: str) -> Ended:
        """Restore the latest archive, or some archive and paths of it, into an empty folder."""
        shutil.rmtree(into, ignore_errors=True)
        return self.run("restore", *paths, "--from", store, "--to", into)
