"""Who speaks, and what it may do here.

Source: docs/spec/control-protocol.md, section 1; SPEC C11, U7; DESIGN D14.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datamover.pipe.spec import PipeSpec

__all__ = ["Everything", "Permit", "Who"]


class Permit(Protocol):
    """Raises what it refuses with."""

    def extend(self, spec: PipeSpec) -> PipeSpec:
        """May this part run here?

        Returns:
            The part to run: where its settings lead is what was looked at and permitted.

        Raises:
            DataMoverError: No; the text says what is not permitted.
        """
        ...

    def see(self) -> None:
        """May all pipes be seen?

        Raises:
            DataMoverError: No.
        """
        ...

    def stop(self) -> None:
        """May pipes of others be stopped, and limited?

        Raises:
            DataMoverError: No.
        """
        ...


class Everything:
    """For the user whose processes run here: what it may not do, the system refuses."""

    def extend(self, spec: PipeSpec) -> PipeSpec:
        """See ``Permit``."""
        return spec

    def see(self) -> None:
        """See ``Permit``."""

    def stop(self) -> None:
        """See ``Permit``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The client of a conversation.

    Attributes:
        name: For people and logs, such as "vault" or "uid 1000".
        permit: What it may do.
        pid: Its process, as the kernel knows it; 0: it is on another machine.
    """

    name: str
    permit: Permit = field(default_factory=Everything)
    pid: int = 0

    def is_process(self, pid: int) -> bool:
        """Whether it is this process, or the thread of this number is one of its own."""
        return self.pid > 0 and (pid == self.pid or Path(f"/proc/{self.pid}/task/{pid}").exists())
