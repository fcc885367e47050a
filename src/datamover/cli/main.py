"""The program: parse, run, and end with a status that says how it went.

This is the one place of the process that catches everything.  A stop signal becomes an exception
in the main thread, so a running pipe is stopped by the same ``finally`` clauses as after an error.

Source: DESIGN D15; docs/reference/cli.md, "Exit statuses".
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Final, NoReturn

from datamover.cli.head_start import drop_head_start, give_head_start
from datamover.cli.problem import Problem
from datamover.cli.release import release
from datamover.cli.screen import OutputClosedError, close_output, flush, prepare_streams, put, say
from datamover.cli.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["main"]

_IGNORED_PRESS: Final = 2
"""The second signal is most often impatience, and would tear the orderly stop; a third is meant."""

_COLLECT_AFTER: Final = 100_000
"""New objects between two looks for cycles: more than all imports make."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status.

    Args:
        arguments: What was typed after the program's name; None for this process's own.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    signals = _Signals()
    signals.install()
    prepare_streams()
    try:
        status = _run(given) if arguments is not None else _run_alone(given)
        flush()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except OutputClosedError:
        close_output()
        status = Status.OUTPUT_CLOSED
    except Exception as error:  # the process boundary: everything ends in a status
        status = _tell(error, as_json=_wants_json(given))
        close_output()
    finally:
        signals.settle()
    return int(status)


def _run_alone(arguments: Sequence[str]) -> int:
    """Run in a process that is this program's from its start to its end."""
    # Imports make a hundred thousand objects that live as long as the program.  By default they
    # are looked through 140 times, and once more at the exit: 0.14 s.
    gc.set_threshold(_COLLECT_AFTER)
    has_server = give_head_start(arguments)
    try:
        return _run(arguments)
    finally:
        if has_server:
            drop_head_start()
        gc.freeze()


def _run(arguments: Sequence[str]) -> int:
    if arguments == ["--version"]:
        put(f"{release()}\n")
        return Status.FINE
    from datamover.cli.app import run  # noqa: PLC0415 - `--version` must not pay for cyclopts

    return run(arguments)


def _wants_json(arguments: Sequence[str]) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _tell(error: Exception, *, as_json: bool) -> int:
    problem = Problem.of(error)
    if os.environ.get("DATAMOVER_DEBUG"):
        traceback.print_exception(error)
    say(problem.as_json() if as_json else problem.as_text())
    return problem.status


class _Signals:
    """Turns stop signals into exceptions of the main thread, once."""

    def __init__(self) -> None:
        self._seen = 0
        self._is_over = False

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # `nohup` and shells that start background jobs ignore some of them on purpose.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def settle(self) -> None:
        """Say that nothing is left to stop; a second signal ends what hangs at the exit."""
        self._is_over = True

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._is_over:
            signal.signal(number, signal.SIG_DFL)
            return
        self._seen += 1
        if self._seen != _IGNORED_PRESS:
            self._raise(number)

    @staticmethod
    def _raise(number: int) -> NoReturn:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
