"""What holds for every test: nothing may be left behind, and properties run in known profiles."""

from __future__ import annotations

import gc
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from datamover.testing.hosts import Network, hosts_available
from datamover.testing.object_server import GivenServer, ObjectServer, objects_available
from datamover.testing.sshd import Sshd, sshd_available

settings.register_profile(
    "fast", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", parent=settings.get_profile("fast"), max_examples=200)
settings.load_profile(
    os.environ.get("DATAMOVER_HYPOTHESIS") or ("ci" if os.environ.get("CI") else "fast")
)


def _descriptors() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the descriptor that listed the folder
    return found


def _children() -> set[str]:
    try:
        return set(Path("/proc/self/task", str(os.getpid()), "children").read_text().split())
    except FileNotFoundError:
        return set()  # a kernel without this list


def _shared_memory() -> set[str]:
    """Names that this project or Python could leave; what others keep there is their own."""
    ours = ("datamover", "psm_", "sem.", "mp-")
    return {name for name in os.listdir("/dev/shm") if name.startswith(ours)}


@pytest.fixture(autouse=True, scope="session")
def _state(tmp_path_factory):
    """Keep journals away from where this user keeps them."""
    before = os.environ.get("DATAMOVER_STATE")
    os.environ["DATAMOVER_STATE"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["DATAMOVER_STATE"]
    else:
        os.environ["DATAMOVER_STATE"] = before


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """Fail a test that leaves a descriptor, a child process, a thread or a name in /dev/shm.

    Wider fixtures are set up before this one, so what they own is counted on both sides.
    """
    descriptors, children, names = _descriptors(), _children(), _shared_memory()
    threads = set(threading.enumerate())
    yield
    left = {n: at for n, at in _descriptors().items() if descriptors.get(n) != at}
    if left:
        # What only the garbage collector still knows is no leak of the system's.
        gc.collect()
        left = {n: at for n, at in _descriptors().items() if descriptors.get(n) != at}
    assert not left, f"descriptors left open: {left}"
    for thread in set(threading.enumerate()) - threads:
        thread.join(1.0)
        assert not thread.is_alive(), f"{thread.name} is still running"
    assert _children() <= children, "child processes left behind"
    assert _shared_memory() <= names, "names left in /dev/shm"


def _need(ability):
    """Skip a test that this machine does not let run; fail it where nothing may be skipped."""
    if not ability:
        (pytest.fail if ability.is_required else pytest.skip)(ability.reason)


@pytest.fixture
def make_network():
    """Makes hosts: ``make_network("source", "destination")``; they go with the test."""
    _need(hosts_available())
    with ExitStack() as stack:
        yield lambda *names: stack.enter_context(Network(*names))


@pytest.fixture(scope="module")
def make_lasting_network():
    """Likewise, and they go with the module: for many tests that leave them as they were."""
    _need(hosts_available())
    with ExitStack() as stack:
        yield lambda *names: stack.enter_context(Network(*names))


@pytest.fixture
def sshd(tmp_path):
    """A real sshd on loopback, and ``command`` and ``rsh`` to reach it."""
    _need(sshd_available())
    with Sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture(scope="session")
def object_server(tmp_path_factory):
    """A real S3 server on loopback, started when it is first asked for."""
    given = os.environ.get("DATAMOVER_S3")
    if given:
        server = GivenServer(given, os.environ)
    else:
        _need(objects_available())
        server = ObjectServer(tmp_path_factory.mktemp("objects"))
    with server:
        # The client's threads live as long as the process; a test is not to be blamed for them.
        import obstore
        from obstore.store import MemoryStore

        obstore.put(MemoryStore(), "x", b"x")
        yield server


@pytest.fixture
def objects(object_server, monkeypatch):
    """The S3 server, with its key in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in object_server.environment.items():
        monkeypatch.setenv(name, value)
    before = _descriptors()
    yield object_server
    # The client's threads close its connections, soon after the last one who used it is gone.
    gc.collect()
    deadline = time.monotonic() + 20
    while _descriptors().keys() - before.keys() and time.monotonic() < deadline:
        time.sleep(0.01)
