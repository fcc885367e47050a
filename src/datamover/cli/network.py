"""The options of every command that can reach another machine."""

# As in ``everywhere``, cyclopts reads the annotations when the program runs.

from dataclasses import dataclass
from typing import Final

from cyclopts import Parameter

from datamover.errors import UsageError
from datamover.mover.travel import Travel
from datamover.pipe.spec import parse_size

__all__ = ["NEAR", "Network"]

_AUTOMATIC: Final = "auto"
_PER_SECOND: Final = "/s"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How a machine named as HOST:PATH is reached, and how data goes there.

    Attributes:
        rsh: The remote shell and its options; by default DATAMOVER_RSH, or `ssh`.
        remote_command: The program on the other machine; by default DATAMOVER_REMOTE, or
            `datamover`.
        paths: Connections that carry the data; `auto`: four to a daemon, and more while they
            bring more; one through a remote shell.
        via: Interfaces, or local addresses, that the connections go out by, with commas between.
        limit: The most that is sent, such as 20MB/s.
        clear: Check what goes over the network, and do not encrypt it.
    """

    rsh: str = ""
    remote_command: str = ""
    paths: str = _AUTOMATIC
    via: str = ""
    limit: str = ""
    clear: bool = False

    def travel(self) -> Travel:
        """Return the same as the mover reads it.

        Raises:
            UsageError: A number is none.
        """
        paths = 0 if self.paths == _AUTOMATIC else _number("--paths", self.paths)
        return Travel(
            rsh=self.rsh,
            remote=self.remote_command,
            paths=paths,
            via=tuple(one for one in self.via.split(",") if one),
            is_clear=self.clear,
            limit=parse_size(self.limit.removesuffix(_PER_SECOND)) if self.limit else 0,
        )


NEAR: Final = Network()


def _number(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise UsageError(reason=f"{option} is {text!r:.20}, it must be a number above 0, or auto")
    return int(text)
