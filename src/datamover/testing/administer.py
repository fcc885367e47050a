"""Run one of the machine's own administration tools, and say what it said when it fails.

Source: ip(8), tc(8), nft(8).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

__all__ = ["administer", "tool"]

# Where these tools lie is often not in the PATH of people.
_SYSTEM: Final = ":/usr/local/sbin:/usr/sbin:/sbin"
_LIMIT_S: Final = 20.0


def tool(name: str) -> str:
    """Return the path of a program, "" when this machine has none of that name."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + _SYSTEM) or ""


def administer(name: str, *words: str, given: str = "") -> str:
    """Run a tool to its end and return what it printed.

    Args:
        name: program, such as ``ip``.
        words: its arguments.
        given: its standard input.

    Raises:
        OSError: it is not there, or it failed; the text is what it said.
    """
    path = tool(name)
    if not path:
        raise FileNotFoundError(f"no {name} on this machine")
    done = subprocess.run(  # noqa: S603  tests run what they say
        [path, *words], input=given, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise OSError(f"{name} {' '.join(words)}: status {done.returncode}: {said}")
    return done.stdout
