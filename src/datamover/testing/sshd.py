"""A real sshd with keys of its own, on loopback or on a host, and the ssh that reaches it.

    with Sshd(tmp_path) as server:
        subprocess.run([*server.command, "server", "true"])       # any name will do for the host

Source: sshd_config(5), ssh_config(5).
"""

from __future__ import annotations

import os
import pwd
import shlex
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from datamover.testing.ability import Ability
from datamover.testing.administer import administer, tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Sshd", "sshd_available"]

# Without its privilege separation folder sshd ends at once; a package makes it when it starts it.
_SEPARATION: Final = Path("/run/sshd")
_START_S: Final = 10.0
_TICK: Final = 0.01
_SERVER: Final = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
{more}
"""
_CLIENT: Final = """\
Host *
HostName {address}
Port {port}
User {user}
IdentityFile {folder}/user
IdentitiesOnly yes
UserKnownHostsFile {folder}/known
StrictHostKeyChecking yes
BatchMode yes
LogLevel ERROR
"""


class Sshd:
    """A server, from ``with`` to its end; who may log in is who started it.

    Args:
        folder: a folder of its own, for keys and configuration.
        address: what it listens on.
        prefix: what runs it on a host of a ``Network`` (``Host.prefix``).
        environment: set for every command, as on that host.

    Attributes:
        command: The words that take the place of ``ssh``; a host name and a command follow.
    """

    def __init__(
        self,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = (tool("ssh"), "-F", str(folder / "ssh_config"))
        self._folder, self._address, self._prefix = folder, address, tuple(prefix)
        self._environment = dict(environment or {})

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            OSError: it did not start; the text is its log.
        """
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _SEPARATION.mkdir(mode=0o755, exist_ok=True)
        for name in ("host", "user"):
            (folder / name).unlink(missing_ok=True)
            words = ("-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(folder / name))
            administer("ssh-keygen", *words)
        port = _free_port()
        facts = {"port": port, "address": self._address, "folder": folder}
        lines = [f"SetEnv {_settings(self._environment)}"] if self._environment else []
        (folder / "sshd_config").write_text(_SERVER.format(**facts, more="\n".join(lines)))
        user = pwd.getpwuid(os.geteuid()).pw_name
        (folder / "ssh_config").write_text(_CLIENT.format(**facts, user=user))
        key = (folder / "host.pub").read_text()
        (folder / "known").write_text(f"[{self._address}]:{port} {key}")
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  tests run what they say
                [*self._prefix, tool("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def rsh(self) -> str:
        """``command`` as one string, as ``--rsh`` and ``rsync -e`` take it."""
        return shlex.join(self.command)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError):
                if "Server listening" in (self._folder / "log").read_text():
                    return
            time.sleep(_TICK)
        raise OSError(f"sshd did not start: {(self._folder / 'log').read_text()[-1000:]}")


def sshd_available() -> Ability:
    """Whether a server can be started here."""
    for name in ("ssh", "sshd", "ssh-keygen"):
        if not tool(name):
            return Ability(f"no {name} here: install openssh-server and openssh-client")
    return Ability()


def _settings(environment: Mapping[str, str]) -> str:
    return " ".join(f'"{key}={value}"' for key, value in environment.items())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
