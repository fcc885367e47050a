"""The progress line, and the notices of a running job.

Source: SPEC X5, U18; docs/reference/cli.md, "Progress".
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Final, Self

from datamover.cli.estimate import Estimator
from datamover.cli.measure import count_text, duration_text, rate_text, readable, size_text
from datamover.cli.screen import flush, is_terminal, put, say

if TYPE_CHECKING:
    from types import TracebackType

    from datamover.cli.everywhere import Everywhere
    from datamover.errors import Fact
    from datamover.mover.report import Notice, Progress

__all__ = ["Display", "notice_text", "progress_text"]

_SHOWN_NOTICES: Final = 20
_FIRST_S: Final = 1.0
"""Jobs that end sooner are not worth a line."""
_PLAIN_EVERY_S: Final = 10.0
_CLEAR: Final = "\r\x1b[2K"
_SAID_FIRST: Final = ("path", "task", "chunk", "block", "offset")


class Display:
    """Watches a job: a line that is rewritten at a terminal, one every ten seconds elsewhere.

    A context manager; leaving it clears the line and says how many notices were not shown.
    """

    def __init__(self, everywhere: Everywhere) -> None:
        self._json = everywhere.json
        self._live = is_terminal(sys.stderr) and not everywhere.quiet
        self._plain = not self._live and not everywhere.quiet and not everywhere.json
        self._next_plain_s = _PLAIN_EVERY_S
        self._estimator = Estimator()
        self._has_line = False
        self._notices = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._clear()
        hidden = self._notices - _SHOWN_NOTICES
        if hidden > 0 and not self._json:
            say(f"notice: {count_text(hidden)} more; all of them with --json")

    def progress(self, progress: Progress) -> None:
        """Show how far the job is."""
        self._estimator.update(elapsed=progress.elapsed_s, done=progress.bytes_in)
        if self._live and progress.elapsed_s >= _FIRST_S:
            width = shutil.get_terminal_size().columns
            line = progress_text(progress, self._estimator)[: max(width - 1, 1)]
            say(_CLEAR + line, end="")
            self._has_line = True
        elif self._plain and progress.elapsed_s >= self._next_plain_s:
            self._next_plain_s = progress.elapsed_s + _PLAIN_EVERY_S
            say(progress_text(progress, self._estimator))

    def notice(self, notice: Notice) -> None:
        """Show a notice: all of them as JSON, the first ones to people."""
        self._notices += 1
        if self._json:
            given = {"event": "notice", "kind": notice.kind, "stage": notice.stage}
            put(json.dumps(given | {"given": dict(notice.given)}) + "\n")
            flush()
        elif self._notices <= _SHOWN_NOTICES:
            self._clear()
            say(notice_text(notice))

    def _clear(self) -> None:
        if self._has_line:
            say(_CLEAR, end="")
            self._has_line = False


def progress_text(progress: Progress, estimator: Estimator) -> str:
    """Return the progress line; what is not known is left out."""
    parts = [progress.job, rate_text(estimator.rate), _files(progress)]
    done, total = progress.bytes_in, progress.total_bytes
    if total and done <= total:
        parts += [f"{size_text(done)} of {size_text(total)}", f"{done / total:.0%}"]
    else:
        parts += [size_text(done)]
    remaining = estimator.remaining(total)
    if remaining is not None:
        parts += [f"ETA {duration_text(remaining)}"]
    if progress.limiting:
        parts += [f"limit: {progress.limiting} {progress.limiting_busy:.0%} busy"]
    return "  ".join(parts)


def notice_text(notice: Notice) -> str:
    """Return a notice on one line: what it is about, why, and every other fact."""
    given = dict(notice.given)
    if "paths" in given:
        # Damage that costs several paths is about the block; the paths are said last.
        given.pop("path", None)
    about = [_fact(key, given.pop(key)) for key in _SAID_FIRST if key in given]
    reason = given.pop("reason", None)
    others = [_fact(key, value) for key, value in given.items() if value not in {None, ""}]
    said = [", ".join(about)] if about else []
    text = ": ".join([*said, *([readable(str(reason))] if reason is not None else [])])
    tail = f" ({', '.join(others)})" if others else ""
    return f"notice[{notice.kind}]: {text or notice.stage}{tail}"


def _fact(key: str, value: Fact) -> str:
    text = readable(str(value))
    return text if key == "path" else f"{key} {text}"


def _files(progress: Progress) -> str:
    files, total = progress.files, progress.total_files
    if progress.job == "pipe":
        return f"{count_text(files)} buffers"
    if total and files <= total:
        return f"{count_text(files)} of {count_text(total)} files"
    return f"{count_text(files)} files"
