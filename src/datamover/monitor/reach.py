"""How another machine is reached: through its daemon, or a remote shell.

A machine that is a member of the same fleet, and whose daemon answers, is reached through that;
any other through the shell.  Whoever names a shell, or a user, wants the shell.

Source: docs/spec/control-protocol.md, section 1; SPEC C2, C5; docs/decisions/0014-two-machines.md.
"""

from __future__ import annotations

import os
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.errors import (
    DistrustError,
    PeerLostError,
    PeerUnreachableError,
    UsageError,
)
from datamover.monitor.channel import ShellChannel, SocketChannel
from datamover.monitor.patience import PATIENCE
from datamover.monitor.peer import Peer
from datamover.monitor.runtime import short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datamover.monitor.patience import Patience
    from datamover.monitor.place import Host

__all__ = ["Means", "Reached", "greeted", "reach", "reach_socket"]

_SHELL_OPENS_S: Final = 300.0
"""Until Welcome through a shell: a person may have to type a passphrase for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What is used to reach machines.

    Attributes:
        rsh: The remote shell and its options; empty: daemons only.
        remote: The program there and what is before it.
        configuration: Where this machine's identity is; None: no daemons.
    """

    rsh: tuple[str, ...] = ("ssh",)
    remote: tuple[str, ...] = ("datamover",)
    configuration: Path | None = None

    @classmethod
    def of(
        cls,
        *,
        rsh: str = "",
        remote: str = "",
        configuration: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> Means:
        """Take what was given, else DATAMOVER_RSH and DATAMOVER_REMOTE, else the usual.

        Args:
            rsh: The remote shell, as a person writes it; with one, daemons are not asked: who says
                so now means it.  DATAMOVER_RSH says which shell it is where it comes to one.
            remote: The program there, likewise.
            configuration: Where this machine's identity is.
            environment: Where else to look.

        Raises:
            UsageError: The words do not end, as a shell reads them.
        """
        shell = rsh or environment.get("DATAMOVER_RSH") or ""
        program = remote or environment.get("DATAMOVER_REMOTE") or "datamover"
        return cls(
            rsh=_words("--rsh", shell or "ssh"),
            remote=_words("--remote-command", program),
            configuration=None if rsh else configuration,
        )

    def command(self, host: Host, *words: str) -> list[str]:
        """Return what to start, so that ``words`` are given to the program there."""
        port = ["-p", str(host.port)] if host.port else []
        at = f"{host.user}@{host.name}" if host.user else host.name
        return [*self.rsh, *port, at, *self.remote, *words]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A machine that answers.

    Attributes:
        peer: The conversation; whoever has this closes it.
        path_command: What to start for a data path; empty: paths go to ``addresses``.
        addresses: Where the daemon takes data paths, "host:port"; empty: through the shell.
    """

    peer: Peer
    path_command: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def reach(host: Host, *, means: Means, purpose: str = "", patience: Patience = PATIENCE) -> Reached:
    """Reach a machine, and begin a conversation with it.

    Args:
        host: Which.
        means: How.
        purpose: "pipe" when a pipe will be asked for.
        patience: How long silence is borne.

    Raises:
        PeerUnreachableError: There is no way to it, or nobody answers there.
        PeerRefusedError: It will not talk.
        PeerProtocolError: What answers is no datamover.

    Blocking: until the answer; a remote shell may ask the user something first.
    """
    try:
        reached = _through_daemon(host, means, purpose, patience)
    except (PeerLostError, PeerUnreachableError, DistrustError):
        # No daemon, or no member: the shell asks for other proof.
        if not means.rsh:
            raise
    else:
        if reached is not None:
            return reached
    if not means.rsh:
        raise PeerUnreachableError(peer=str(host), reason="this machine is in no fleet")
    return _through_shell(host, means, purpose, patience)


def reach_socket(path: Path, *, name: str, patience: Patience = PATIENCE) -> Peer:
    """Begin a conversation over a Unix socket of this machine.

    Raises:
        PeerUnreachableError: Nobody is there, or does not answer in time.
        PeerRefusedError: It will not talk.
        PeerProtocolError: What answers is no datamover.

    Blocking: until the answer, at most ``patience.opening_s``.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(patience.opening_s)
    try:
        with short(path) as at:
            connection.connect(at)
    except OSError as error:
        connection.close()
        reason = f"{path}: {error.strerror or error}"
        raise PeerUnreachableError(peer=name, reason=reason) from None
    return greeted(
        Peer(SocketChannel(connection), name=name, patience=patience), "", patience.opening_s
    )


def greeted(peer: Peer, purpose: str, timeout: float) -> Peer:
    """Return a peer that has welcomed us; closed when it does not."""
    try:
        peer.greet(purpose=purpose, timeout=timeout)
    except BaseException:
        peer.close()
        raise
    return peer


def _through_daemon(host: Host, means: Means, purpose: str, patience: Patience) -> Reached | None:
    if means.configuration is None or not means.configuration.exists() or host.user:
        return None
    # Late: TLS and certificates are for members of fleets.
    from datamover.link.credentials import is_enrolled  # noqa: PLC0415 - as above
    from datamover.monitor.reach_daemon import reach_daemon  # noqa: PLC0415 - as above

    if not is_enrolled(means.configuration):
        return None
    return reach_daemon(host, means.configuration, purpose=purpose, patience=patience)


def _through_shell(host: Host, means: Means, purpose: str, patience: Patience) -> Reached:
    command = means.command(host, "serve", "--stdio")
    try:
        channel = ShellChannel(command)
    except OSError as error:
        reason = f"{command[0]}: {error.strerror or error}"
        raise PeerUnreachableError(peer=str(host), reason=reason) from None
    peer = Peer(channel, name=str(host), patience=patience)
    return Reached(
        peer=greeted(peer, purpose, max(_SHELL_OPENS_S, patience.opening_s)),
        path_command=tuple(means.command(host, "serve", "--path")),
    )


def _words(option: str, text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(reason=f"{option}: {str(error).lower()}: {text:.80}") from None
    if not words:
        raise UsageError(reason=f"{option}: no word in it")
    return words
