"""``datamover pipe run|show SPEC.toml``: pipes that are written in a file."""

import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from datamover.cli.answer import Drawing
from datamover.cli.drawing import draw
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.measure import printable
from datamover.cli.network import NEAR, Network
from datamover.cli.pipe_report import progress_of, record_of
from datamover.cli.progress import Display
from datamover.cli.render import show as render
from datamover.cli.secret import take_from_environment
from datamover.cli.status import of_notices
from datamover.monitor.pipe_socket import asked
from datamover.monitor.supervisor import Monitor, last_level_cache
from datamover.mover.lead import led
from datamover.mover.report import Notice
from datamover.pipe.layout import lay_out
from datamover.pipe.spec import PipeSpec, load_spec

__all__ = ["run", "show"]

_LOOK_EVERY_S = 0.1
_STANDARD = "-"


def run(
    spec: Annotated[str, Parameter(name="SPEC.toml")],
    /,
    *,
    daemon: bool = False,
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> int:
    """Run a pipe from a file until it ends.

    Args:
        spec: A pipe file; docs/reference/pipe-file.md says what it holds.
        daemon: Have the monitor of this user run it, and return when it runs.
        network: How another machine is reached, where a stage is on one.
        everywhere: The options that every command takes.
    """
    # No stage of a pipe file has a use for the passphrase, and tasks inherit the environment.
    take_from_environment()
    pipe = _load(spec)
    if daemon:
        return _initiate(pipe, network, everywhere)
    notices: Counter[str] = Counter()

    def notice(stage: str, instance: int, kind: str, given: Mapping[str, object]) -> None:
        notices[kind] += 1
        facts = {key: str(value) for key, value in given.items()}
        display.notice(Notice(kind=kind, stage=f"{stage}.{instance}", given=facts))

    # What we say must not end up in the data.
    with redirect_stdout(sys.stderr) if _writes_output(pipe) else nullcontext():
        with (
            Display(everywhere) as display,
            Monitor() as monitor,
            asked(monitor),
            led(pipe, network.travel(), monitor=monitor, on_notice=notice) as live,
        ):
            while not live.poll(_LOOK_EVERY_S):
                display.progress(progress_of(live.statistics()))
            outcome = live.outcome()
        if everywhere.json or not everywhere.quiet:
            render(record_of(outcome), everywhere)
    return of_notices(notices)


def show(
    spec: Annotated[str, Parameter(name="SPEC.toml")], /, *, everywhere: Everywhere = DEFAULTS
) -> None:
    """Draw a pipe: stages, instances, order, shares, buffers and memory.

    Args:
        spec: A pipe file; docs/reference/pipe-file.md says what it holds.
        everywhere: The options that every command takes.
    """
    render(draw(lay_out(_load(spec), cache=last_level_cache())), everywhere)


def _initiate(pipe: PipeSpec, network: Network, everywhere: Everywhere) -> int:
    # Imported late: most pipes are run here.
    from datamover.monitor.local import LocalMonitor  # noqa: PLC0415 - as above

    travel = msgspec.to_builtins(network.travel())
    with LocalMonitor.reach() as monitor:
        found = monitor.initiate(pipe, travel=travel)
    told = Drawing(
        text=f"{printable(found.pipe)} runs; `datamover status` shows it\n",
        json={"event": "initiated", "pipe": found.pipe, "pid": found.pid},
    )
    if everywhere.json or not everywhere.quiet:
        render(told, everywhere)
    return 0


def _writes_output(pipe: PipeSpec) -> bool:
    """Whether the tail writes to standard output."""
    return bool(pipe.stages) and pipe.stages[-1].settings.get("path") == _STANDARD


def _load(path: str) -> PipeSpec:
    spec = load_spec(path)
    # A stage that is written beside the file is found, as a module beside a script is.
    sys.path.insert(0, str(Path(path).resolve().parent))
    return spec
