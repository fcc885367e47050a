"""``datamover serve --stdio|--path``: what a remote shell starts on the machine that it reaches."""

import os
import socket

from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.head_start import SERVING
from datamover.cli.screen import say
from datamover.cli.secret import Passphrase, take_from_environment
from datamover.cli.services import services
from datamover.errors import UsageError
from datamover.link.places import runtime_folder
from datamover.monitor.line import Line
from datamover.monitor.path import pass_path
from datamover.monitor.pipe_socket import asked
from datamover.monitor.stdio import serve_stdio, take_standard_streams
from datamover.monitor.supervisor import Monitor
from datamover.mover.controller import control as lead

__all__ = ["serve"]

_USUAL = "the client ended it"


def serve(
    *,
    stdio: bool = False,
    path: bool = False,
    control: bool = False,
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Serve whoever is at the other end of standard input and output.

    Args:
        stdio: Hold one conversation, and end with it.
        path: Pass one data path to the pipe that its first bytes name.
        control: Lead one pipe for the monitor that started this.
        everywhere: The options that every command takes.
    """
    if stdio + path + control != 1:
        raise UsageError(reason="what is served is either --stdio or --path, or --control")
    take_from_environment()  # tasks inherit the environment
    if path:
        pass_path(take_standard_streams(), runtime_folder())
        return
    if control:
        _control()
        return
    with Monitor(preload=list(SERVING)) as monitor, asked(monitor):
        ended = serve_stdio(take_standard_streams(), monitor=monitor, service=services())
    if ended != _USUAL and not everywhere.quiet:
        say(f"warning: {ended}")


def _control() -> None:
    given, taken = take_standard_streams()
    os.close(taken)
    try:
        line = Line(socket.socket(fileno=given))
    except OSError:
        raise UsageError(reason="--control is for `datamover monitor`, which starts it") from None
    try:
        lead(line, Passphrase)
    finally:
        line.close()
