"""``datamover stop PIPE`` and ``datamover limit PIPE RATE``: change a pipe that runs."""

from typing import Annotated

from cyclopts import Parameter

from datamover.cli.answer import Drawing
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.measure import printable, rate_text
from datamover.cli.pipes_of import me, pipes_of
from datamover.cli.render import show
from datamover.pipe.spec import parse_size

__all__ = ["limit", "stop"]


def stop(
    pipe: Annotated[str, Parameter(name="PIPE")],
    /,
    *,
    on: str = "",
    rsh: str = "",
    remote_command: str = "",
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Stop a pipe that runs, on every machine that it runs on.

    Args:
        pipe: Its name, the beginning of it, or the process that runs it.
        on: The machine, as [USER@]HOST; by default this one.
        rsh: The remote shell; by default DATAMOVER_RSH, or ssh.
        remote_command: The program there; by default DATAMOVER_REMOTE, or datamover.
        everywhere: The options that every command takes.
    """
    with pipes_of(on, rsh=rsh, remote_command=remote_command) as pipes:
        name = pipes.stop(pipe, me())
    told = Drawing(text=f"{printable(name)} is stopping\n", json={"event": "stop", "pipe": name})
    if everywhere.json or not everywhere.quiet:
        show(told, everywhere)


def limit(
    pipe: Annotated[str, Parameter(name="PIPE")],
    rate: Annotated[str, Parameter(name="RATE")],
    /,
    *,
    on: str = "",
    rsh: str = "",
    remote_command: str = "",
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Limit what a pipe sends to other machines, while it runs.

    Args:
        pipe: Its name, the beginning of it, or the process that runs it.
        rate: Such as 200MB/s, in all; "none" takes the limit away.
        on: The machine, as [USER@]HOST; by default this one.
        rsh: The remote shell; by default DATAMOVER_RSH, or ssh.
        remote_command: The program there; by default DATAMOVER_REMOTE, or datamover.
        everywhere: The options that every command takes.
    """
    bytes_per_s = 0 if rate == "none" else parse_size(rate.removesuffix("/s"))
    with pipes_of(on, rsh=rsh, remote_command=remote_command) as pipes:
        name = pipes.set_limit(pipe, bytes_per_s)
    words = rate_text(bytes_per_s) if bytes_per_s else "as much as it can"
    told = Drawing(
        text=f"{printable(name)} sends {words}\n",
        json={"event": "limit", "pipe": name, "bytes_per_s": bytes_per_s},
    )
    if everywhere.json or not everywhere.quiet:
        show(told, everywhere)
