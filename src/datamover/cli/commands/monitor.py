"""``datamover monitor``: the daemon that runs pipes for others."""

import sys
from typing import Annotated

from cyclopts import Parameter

from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.head_start import SERVING, start_serving
from datamover.cli.log import start_log
from datamover.cli.secret import take_from_environment
from datamover.cli.services import services
from datamover.errors import UsageError
from datamover.link.address import Address
from datamover.link.peer import Peer
from datamover.link.permissions import Permissions
from datamover.link.places import configuration_folder, runtime_folder, state_folder
from datamover.monitor.daemon import Options, run_daemon
from datamover.monitor.supervisor import Monitor
from datamover.mover.permit import FleetPermit

__all__ = ["monitor"]


def monitor(
    *,
    listen: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    drain: float = 60.0,
    log_json: bool = False,
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Run pipes for other machines and commands, until SIGTERM.

    Args:
        listen: Address for other machines, HOST or HOST:PORT; may be repeated; by default all
            addresses, port 4747.  Nothing is listened to before this machine is in a fleet.
        drain: Seconds that pipes may go on after SIGTERM.
        log_json: Write the log as JSON, one object a line.
        everywhere: The options that every command takes.
    """
    if drain < 0:
        raise UsageError(reason=f"--drain is {drain:g}, it must be 0 or more")
    start_serving()  # before there are threads, or keys of this machine
    take_from_environment()  # tasks inherit the environment
    start_log(as_json=log_json or everywhere.json)
    configuration = configuration_folder()

    def permit_of(peer: Peer) -> FleetPermit:
        return FleetPermit(permissions=Permissions.load(configuration), peer=peer)

    options = Options(
        runtime=runtime_folder(),
        configuration=configuration,
        listen=tuple(Address.parse(one) for one in listen),
        drain_s=drain,
        permit_of=permit_of,
        state=state_folder(),
        controller=(sys.executable, "-m", "datamover", "serve", "--control"),
        service_of=lambda peer: services(None if peer is None else permit_of(peer)),
    )
    with Monitor(preload=list(SERVING)) as pipes:
        pipes.warm_up()
        run_daemon(pipes, options)
