"""Hosts are apart from each other, links have their rate and can be pulled, nothing stays."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datamover.testing.ability import Ability
from datamover.testing.administer import administer, tool
from datamover.testing.hosts import Network
from datamover.testing.job import running

pytestmark = [pytest.mark.processes, pytest.mark.slow]

RECEIVER = """
import socket, sys, time
with socket.create_server(("", int(sys.argv[1]))) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    room, total, start = bytearray(1 << 20), 0, None
    while got := connection.recv_into(room):
        start = start or time.monotonic()
        total += got
    print(total, time.monotonic() - start, flush=True)
"""

SENDER = """
import socket, sys, time
address, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
connection = socket.create_connection((address, port), timeout=20)
print("connected", flush=True)
end, block, total = time.monotonic() + seconds, bytes(1 << 16), 0
while time.monotonic() < end:
    connection.sendall(block)
    total += len(block)
connection.close()
print(total)
"""


class Transfer:
    """A sender on one host and a receiver on the other, over one link."""

    def __init__(self, source, destination, link, seconds, port=7000):
        self.receiver = destination.popen([sys.executable, "-c", RECEIVER, str(port)])
        assert self.receiver.stdout.readline() == b"ready\n"
        words = [link.address(destination), str(port), str(seconds)]
        self.sender = source.popen([sys.executable, "-c", SENDER, *words])
        assert self.sender.stdout.readline() == b"connected\n"

    def finish(self):
        """Return the bytes sent, the bytes received, and the seconds it took to receive them."""
        sent = int(self.sender.stdout.readline())
        received, seconds = self.receiver.stdout.readline().split()
        assert (self.sender.wait(20), self.receiver.wait(20)) == (0, 0)
        return sent, int(received), float(seconds)


def carried(source, destination, link, seconds=1.2):
    """Return what a plain socket gets over a link, in Mbit/s of payload."""
    sent, received, took = Transfer(source, destination, link, seconds).finish()
    assert sent == received
    return received * 8 / took / 1e6


def run(command, **given):
    return subprocess.run(command, capture_output=True, check=False, **given)


def wait_until(holds, timeout=10):
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def pair(make_network):
    network = make_network("source", "destination")
    return network, *network.hosts


@pytest.mark.parametrize("mbit", [100, 200])
def test_a_link_has_its_rate_each_way(pair, mbit):
    network, source, destination = pair
    link = network.connect(source, destination, mbit=mbit)

    # Frames of 1514 bytes carry 1448 of payload.
    assert carried(source, destination, link) == pytest.approx(mbit * 1448 / 1514, rel=0.1)
    assert carried(destination, source, link) == pytest.approx(mbit * 1448 / 1514, rel=0.1)


def test_large_packets_carry_nearly_the_whole_rate(pair):
    network, source, destination = pair
    link = network.connect(source, destination, mbit=200, mtu=9000)

    assert carried(source, destination, link) == pytest.approx(200 * 0.993, rel=0.04)


def test_a_rate_can_be_changed_and_taken_away(pair):
    network, source, destination = pair
    link = network.connect(source, destination, mbit=20)
    link.limit(80)

    assert carried(source, destination, link) == pytest.approx(80 * 0.956, rel=0.1)
    link.limit(None)
    assert carried(source, destination, link, seconds=0.3) > 500


def test_two_links_are_two_ways_between_the_same_hosts(pair):
    network, source, destination = pair
    first = network.connect(source, destination, mbit=100)
    second = network.connect(source, destination, mbit=50)
    transfers = [
        Transfer(source, destination, link, 1.2, port=7000 + number)
        for number, link in enumerate((first, second))
    ]
    rates = [got * 8 / took / 1e6 for _, got, took in (one.finish() for one in transfers)]

    assert rates == pytest.approx([95.6, 47.8], rel=0.1)


def test_counters_tell_which_link_carried_what(pair):
    network, source, destination = pair
    first = network.connect(source, destination)
    second = network.connect(source, destination, mbit=50)
    before = first.sent(source)
    sent, _, _ = Transfer(source, destination, second, 0.3).finish()

    assert second.sent(source) == pytest.approx(sent * 1514 / 1448, rel=0.05)
    assert second.received(destination) == second.sent(source)
    assert first.sent(source) - before < 10_000


def test_a_pulled_plug_stops_a_transfer_and_putting_it_in_lets_it_go_on(pair):
    network, source, destination = pair
    link = network.connect(source, destination, mbit=50)
    transfer = Transfer(source, destination, link, 1.0)
    link.down()
    stopped = link.received(destination)
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 7000), timeout=1)"
    with pytest.raises(AssertionError, match=r"unreachable|timed out"):
        source.python(connect, link.address(destination))
    assert link.received(destination) == stopped
    link.up()
    sent, received, _ = transfer.finish()

    assert sent == received > 0


def test_a_link_can_swallow_everything_and_keep_its_carrier(pair):
    network, source, destination = pair
    link = network.connect(source, destination, mbit=50)
    transfer = Transfer(source, destination, link, 0.5)
    link.lose(100)
    assert "LOWER_UP" in administer("ip", "-n", source.namespace, "link", "show", link.name)
    link.lose(0)
    sent, received, _ = transfer.finish()

    assert sent == received > 0


def test_loss_is_as_large_as_was_asked_for(pair):
    network, source, destination = pair
    link = network.connect(source, destination)
    link.lose(20)
    code = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 7001))
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
print("ready", flush=True)
server.settimeout(20)
got = 0
while server.recv(100) != b"end":
    got += 1
print(got)
"""
    receiver = destination.popen([sys.executable, "-c", code])
    assert receiver.stdout.readline() == b"ready\n"
    code = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(2000):
    sender.sendto(b"x", (sys.argv[1], 7001))
"""
    source.python(code, link.address(destination))
    link.lose(0)
    source.python(code.replace("2000", "1").replace('b"x"', 'b"end"'), link.address(destination))

    assert int(receiver.stdout.readline()) == pytest.approx(1600, abs=100)


def test_a_long_line_delays_whatever_goes_between_two_hosts(pair):
    network, source, destination = pair
    line = network.long_line(source, destination, delay_ms=25, mbit=80)
    code = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 7000), timeout=20)
took = []
for _ in range(5):
    start = time.monotonic()
    connection.sendall(b"x")
    connection.recv(1)
    took.append(time.monotonic() - start)
print(min(took))
"""
    server = """
import socket
with socket.create_server(("", 7000)) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    while got := connection.recv(1):
        connection.sendall(got)
"""
    name = "import socket; print(socket.gethostbyname('destination'))"
    assert source.python(name).stdout.strip() == line.address(destination)
    for here, there in ((source, destination), (destination, source)):
        there.popen([sys.executable, "-c", server]).stdout.readline()
        took = float(here.python(code, line.address(there)).stdout)

        assert took == pytest.approx(0.05, rel=0.1)
    assert carried(source, destination, line) == pytest.approx(80, rel=0.1)
    assert line.proxy.statistics().opened == 3
    line.proxy.cut()
    with pytest.raises(AssertionError, match="refused"):
        source.python(code, line.address(destination))


def test_hosts_share_no_state(pair):
    _, source, destination = pair
    told = [
        json.loads(
            host.python(
                "import json, os, socket; print(json.dumps([socket.gethostname(),"
                " *(os.environ[n] for n in ('DATAMOVER_CONFIG', 'DATAMOVER_RUNTIME', 'TMPDIR',"
                " 'HOME'))]))"
            ).stdout
        )
        for host in (source, destination)
    ]

    assert [one[0] for one in told] == ["source", "destination"]
    assert not set(told[0]) & set(told[1])
    assert all(Path(place).is_dir() for one in told for place in one[1:])
    assert Path(told[0][2]).stat().st_mode & 0o777 == 0o700


def test_hosts_know_each_other_by_name(pair):
    network, source, destination = pair
    first = network.connect(source, destination)
    second = network.connect(source, destination)
    code = "import socket, sys; print(*map(socket.gethostbyname, sys.argv[1:]))"
    found = source.python(code, "destination", "destination.link2").stdout.split()

    assert found == [first.address(destination), second.address(destination)]


def test_loopback_is_up_and_the_hosts_own(pair):
    _, source, destination = pair
    code = "import socket; socket.create_connection(('127.0.0.1', 7000), timeout=5).close()"
    server = destination.popen([sys.executable, "-c", RECEIVER.replace("start)", "0)"), "7000"])
    server.stdout.readline()

    with pytest.raises(AssertionError, match="refused"):
        source.python(code)
    destination.python(code)


@pytest.mark.usefixtures("make_network")
def test_everything_goes_also_after_a_failure():
    seen = {}

    def fail():
        with Network("a", "b") as network:
            host, _ = network.hosts
            network.connect(*network.hosts)
            (host.disk(8) / "file").write_bytes(bytes(1000))
            process = host.popen(["/bin/sh", "-c", "setsid sleep 1000 & sleep 1000"])
            wait_until(lambda: len(host.processes()) == 3)
            seen.update(network=network, process=process, inside=host.processes())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert seen["process"].returncode == -9
    assert not {pid for pid, _, _, _ in running()} & set(seen["inside"])
    folder = seen["network"].folder
    assert not folder.exists()
    assert str(folder) not in Path("/proc/mounts").read_text()
    for host in seen["network"].hosts:
        assert not Path("/run/netns", host.namespace).exists()
        assert not Path("/etc/netns", host.namespace).exists()


@pytest.mark.usefixtures("make_network")
def test_what_a_killed_process_left_is_removed_by_the_next():
    code = """
import os, signal
from datamover.testing.hosts import Network
with Network("left") as network:
    print(network.hosts[0].namespace, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run([sys.executable, "-c", code], text=True)
    name = done.stdout.strip()
    assert Path("/run/netns", name).exists()
    with Network("next"):
        assert not Path("/run/netns", name).exists()
        assert not Path("/etc/netns", name).exists()


def test_a_full_disk_of_a_host_is_full(pair):
    disk = pair[1].disk(1)

    with pytest.raises(OSError, match="No space"):
        (disk / "file").write_bytes(bytes(2 << 20))


def test_where_it_is_not_permitted_the_reason_is_told():
    code = """
import os
from datamover.testing.hosts import hosts_available
os.setgid(65534)
os.setuid(65534)
able = hosts_available()
print(bool(able), able.reason)
"""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    done = run([sys.executable, "-c", code], text=True)

    assert done.stdout == "False only root can make network namespaces\n"


def test_ci_may_not_skip(monkeypatch):
    monkeypatch.setenv("DATAMOVER_SKIP", "never")
    assert Ability("why not").is_required
    assert not Ability("why not")


def shell(rsh, *words, **given):
    return run([*shlex.split(rsh), *words], **given)


def test_the_remote_shell_runs_a_command_on_a_host(pair):
    network, _, destination = pair
    log = network.folder / "log"
    rsh = network.remote_shell(log=log)
    words = ["-p", "22", "-oBatchMode=yes", "-4", "-l", "me", "you@destination"]
    done = shell(rsh, *words, "hostname; pwd; echo $DATAMOVER_RUNTIME $SECRET", "'a  b'; exit 7",
                 env={**os.environ, "SECRET": "not passed on"})  # fmt: skip

    home, run = destination.environment["HOME"], destination.environment["DATAMOVER_RUNTIME"]
    assert done.stdout.decode().splitlines() == ["destination", home, f"{run} a  b"]
    assert done.returncode == 7
    assert json.loads(log.read_text())[:7] == words


def test_the_remote_shell_carries_what_it_is_given(pair):
    rsh = pair[0].remote_shell()
    data = os.urandom(5 << 20)

    assert shell(rsh, "destination", "cat; echo told >&2", input=data).stdout == data


def test_the_remote_shell_knows_no_strangers(pair):
    done = shell(pair[0].remote_shell(), "elsewhere", "true")

    assert done.returncode == 255
    assert b"could not resolve hostname elsewhere" in done.stderr


def test_a_killed_remote_shell_closes_the_pipes_of_both_sides(pair):
    network, _, destination = pair
    command = [*shlex.split(network.remote_shell()), "destination", "cat >/dev/null; echo end >end"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as near:
        wait_until(destination.processes)
        near.kill()
        assert near.stdout.read() == b""
    end = Path(destination.environment["HOME"], "end")
    wait_until(lambda: end.exists() and end.read_text() == "end\n")


@pytest.mark.skipif(not tool("rsync"), reason="no rsync here: scripts/test-hosts-setup installs it")
@pytest.mark.parametrize("kind", ["remote shell", "sshd"])
def test_rsync_works_through_either_shell(pair, tmp_path, kind, request):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(1 << 20))
    rsh = request.getfixturevalue("sshd").rsh if kind == "sshd" else pair[0].remote_shell()
    into = tmp_path / "into"
    words = ["rsync", "-a", "-e", rsh, f"{source}/", f"destination:{into}/"]
    done = run(words, text=True)

    assert done.returncode == 0, done.stderr
    assert (into / "file").read_bytes() == (source / "file").read_bytes()
