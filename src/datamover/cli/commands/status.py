"""``datamover status [PIPE]``: what the pipes of a machine do."""

from typing import Annotated

from cyclopts import Parameter

from datamover.cli.account_table import drawing_of
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.pipes_of import pipes_of
from datamover.cli.render import show

__all__ = ["status"]


def status(
    pipe: Annotated[str, Parameter(name="PIPE")] = "",
    /,
    *,
    on: str = "",
    rsh: str = "",
    remote_command: str = "",
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Say what the pipes of this machine do, or of another.

    Args:
        pipe: Its name, the beginning of it, or the process that runs it; by default all.
        on: The machine, as [USER@]HOST; by default this one.
        rsh: The remote shell; by default DATAMOVER_RSH, or ssh.
        remote_command: The program there; by default DATAMOVER_REMOTE, or datamover.
        everywhere: The options that every command takes.
    """
    with pipes_of(on, rsh=rsh, remote_command=remote_command) as pipes:
        found = pipes.accounts(pipe)
    show(drawing_of(found), everywhere)
