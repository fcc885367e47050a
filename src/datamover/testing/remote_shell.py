"""Stand in for ``ssh``: a command runs on a host of a ``Network``, or in a folder of this machine.

    python -m datamover.testing.remote_shell --hosts FILE [-p PORT] [OPTION...] HOST COMMAND...

What programs rely on is as with ssh: the words of the command are joined by spaces and given to
a shell in the home folder; the environment is not passed on; input and output are relayed by this
process, so when it is killed both sides see their pipes close, and the command lives on to notice;
the status is that of the command, 255 when there is no such host.

FILE is what the function ``remote_shell`` wrote.

Source: ssh(1); SPEC G9.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Reached", "main", "remote_shell"]

# Options of ssh that have a value, so that the host is found behind them.
_VALUED: Final = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
_BLOCK: Final = 1 << 17
_NO_HOST: Final = 255
_USAGE: Final = 64
# All that a login has, besides what belongs to the host.
_PASSED: Final = ("PATH", "LANG", "USER", "LOGNAME", "SHELL", "DATAMOVER_TEST_JOB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How a host is reached.

    Attributes:
        prefix: What is put before the command; nothing for this machine.
        folder: Its home folder.
        environment: What it has there.
    """

    prefix: tuple[str, ...] = ()
    folder: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)


def remote_shell(at: Path, hosts: Mapping[str, Reached], *, log: Path | None = None) -> str:
    """Write the file of hosts; return what to give as ``--rsh`` or ``rsync -e``.

    Args:
        at: the file.
        hosts: the hosts by name.
        log: gets a line for each call, a JSON list of its words.
    """
    told = {name: asdict(one) for name, one in hosts.items()}
    at.write_text(json.dumps({"hosts": told, "log": str(log or "")}))
    return shlex.join([sys.executable, "-m", "datamover.testing.remote_shell", "--hosts", str(at)])


def main(words: Sequence[str] | None = None) -> int:
    """Run a command as ssh does; return its status."""
    words = sys.argv[1:] if words is None else words
    if len(words) < 3 or words[0] != "--hosts":
        sys.stderr.write("remote_shell: --hosts FILE [OPTION...] HOST COMMAND...\n")
        return _USAGE
    known = json.loads(Path(words[1]).read_text())
    if known["log"]:
        with Path(known["log"]).open("a") as log:
            log.write(json.dumps(words[2:]) + "\n")
    name, command = _split(words[2:])
    if name not in known["hosts"]:
        sys.stderr.write(f"ssh: could not resolve hostname {name}: name or service not known\n")
        return _NO_HOST
    return _relay(Reached(**known["hosts"][name]), command)


def _split(words: Sequence[str]) -> tuple[str, str]:
    """Return the host and the command behind the options."""
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "--":
        option = left.pop(0)
        if option[-1] in _VALUED and left and not (set(option[1:-1]) & _VALUED):
            left.pop(0)
    if left and left[0] == "--":
        left.pop(0)
    name = left.pop(0) if left else ""
    return name.rpartition("@")[2], " ".join(left)


def _relay(host: Reached, command: str) -> int:
    passed = {key: os.environ[key] for key in _PASSED if key in os.environ}
    child = subprocess.Popen(  # noqa: S603  tests run what they say
        [*host.prefix, "/bin/sh", "-c", command],
        cwd=host.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"HOME": host.folder, **passed, **host.environment},
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    into, out, told = child.stdin.fileno(), child.stdout.fileno(), child.stderr.fileno()
    # The input may never end, and must not keep this process.
    threading.Thread(target=_copy, args=(0, into, child.stdin.close), daemon=True).start()
    outward = [
        threading.Thread(target=_copy, args=pair) for pair in ((out, 1, None), (told, 2, None))
    ]
    for one in outward:
        one.start()
    for one in outward:
        one.join()
    status = child.wait()
    return 128 - status if status < 0 else status


def _copy(source: int, sink: int, then: object) -> None:
    """Copy until either side is closed."""
    try:
        while block := os.read(source, _BLOCK):
            left = memoryview(block)
            while left:
                left = left[os.write(sink, left) :]
    except OSError:  # the other side is gone
        if sink == 1:
            os._exit(_NO_HOST)
    if callable(then):
        then()


if __name__ == "__main__":
    # Not sys.exit: the thread that reads the input may be in a read that nothing interrupts.
    status = main()
    sys.stderr.flush()
    os._exit(status)
