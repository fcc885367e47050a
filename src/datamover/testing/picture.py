"""Draw a session of the command line as a picture, from a real run in a real terminal.

    python -m datamover.testing.picture docs/images/demo.svg

Source: README.md.
"""

from __future__ import annotations

import os
import pty
import re
import secrets
import shlex
import sys
import sysconfig
import tempfile
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

__all__ = ["main"]

_WIDTH: Final = 92
_SOURCES: Final = ("/usr/share/doc", "/usr/lib/python3")
# A progress line is drawn over and over: what was drawn over is not in the picture.
_REDRAWN: Final = re.compile(r"[^\n]*\r\x1b\[2K|\x1b\[2K|\r(?!\n)|\x1b\[\?25[hl]")

# A font from a network is none of a picture's business.
_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main(target: str) -> None:
    """Run the daily tasks, and write what they show to ``target``."""
    console = Console(
        record=True, width=_WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    with tempfile.TemporaryDirectory(prefix="datamover-picture.") as folder:
        os.environ |= {"DATAMOVER_PASSPHRASE": secrets.token_hex(8), "COLUMNS": str(_WIDTH)}
        os.environ |= {"TERM": "xterm-256color", "LINES": "40"}
        store, back = f"{folder}/store", f"{folder}/back"
        sources = " ".join(path for path in _SOURCES if Path(path).is_dir())
        for line in (
            f"init {store}",
            f"backup {sources} --to {store} --name nightly",
            f"archives {store}",
            f"restore --from {store} --to {back} --quiet",
            f"verify {store} --quiet && echo nothing is damaged",
        ):
            shown = f"$ datamover {line}".replace(folder, "/srv")
            console.print(Text(shown, style="bold green"))
            console.print(Text.from_ansi(_run(line).replace(folder, "/srv")))
    drawn = _FONT.sub("", console.export_svg(title="datamover")).replace(
        "Fira Code", "DejaVu Sans Mono"
    )
    Path(target).write_text(drawn)


def _run(line: str) -> str:
    program = Path(sysconfig.get_path("scripts")) / "datamover"
    shown: list[bytes] = []

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        shown.append(data)
        return b" "  # nothing of it on this terminal; an empty answer would end the session

    pty.spawn(["/bin/sh", "-c", f"{shlex.quote(str(program))} {line}"], read, lambda _: b"")
    return _REDRAWN.sub("", b"".join(shown).decode().replace("\r\n", "\n")).rstrip("\n")


if __name__ == "__main__":
    main(sys.argv[1])
