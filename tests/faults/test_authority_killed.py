"""kill -9 anywhere while an invitation is redeemed: it is unused or used, and never used twice.

The child dies by its own hand at the Nth call that makes something durable or visible, so every
moment that a crash could fall into is tried.
"""

import subprocess
import sys

import pytest

from datamover.errors import TokenError
from datamover.link.authority import Authority
from datamover.link.certificates import make_key, make_request, read_key, write_key
from datamover.link.founding import found
from datamover.link.identity import Identity
from datamover.link.permissions import Permissions
from datamover.link.proof import Statement, prove

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.timeout(300)]

DYING = """
import os, signal, sys
from pathlib import Path

left = int(sys.argv[1])

def mortal(of):
    def call(*given, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return of(*given, **named)
    return call

os.fsync = mortal(os.fsync)
Path.rename = mortal(Path.rename)
"""
REDEEM = (
    DYING
    + """
from test_authority_killed import application
from datamover.link.authority import Authority
from datamover.link.certificates import read_key
from datamover.link.token import Token

token = Token.parse(Path(sys.argv[3]).read_text())
key = read_key(Path(sys.argv[4]).read_bytes())
Authority.open(Path(sys.argv[2])).redeem(*application(token, key))
print("answered", flush=True)
"""
)
FOUND = (
    DYING
    + """
from datamover.link.founding import found
found(Path(sys.argv[2]), "home")
print("answered", flush=True)
"""
)


def application(token, key):
    statement = Statement(
        fleet=token.fleet,
        invitation=token.invitation,
        client_nonce=bytes(32),
        server_nonce=bytes(32),
        server_certificate=b"shown",
        request=make_request(key),
        name="m",
        host="",
    )
    return statement, prove(token.secret, statement)


def run(script, *arguments):
    source = __file__.rsplit("/tests/", 1)[0] + "/src"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={"PYTHONPATH": f"{source}:{__file__.rsplit('/', 1)[0]}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_invitation_is_never_used_twice_whenever_the_authority_dies(tmp_path):
    outcomes = []
    for step in range(40):
        home = tmp_path / str(step)
        authority = Authority.create(home)
        token, key = authority.invite(allow=["extend"]), make_key()
        (home / "token").write_text(token.text())
        (home / "key").write_bytes(write_key(key))
        died = run(REDEEM, step, home, home / "token", home / "key")
        assert died.returncode in (0, -9), died.stderr

        used = bool(authority.state().invitations[0].used_s)
        assert used or "answered" not in died.stdout
        outcomes.append(used)
        if used:
            # For the machine that asked it goes on; for everybody else it is over.
            with pytest.raises(TokenError, match="used already"):
                authority.redeem(*application(token, make_key()))
        authority.redeem(*application(token, read_key((home / "key").read_bytes())))
        assert [m.name for m in authority.state().machines] == ["m"]
        assert [entry.extend for entry in Permissions.load(home).of("m")] == [True]
        if died.returncode == 0:
            break

    assert outcomes[0] is False
    assert outcomes[-1] is True
    assert outcomes == sorted(outcomes)
    assert len(outcomes) > 4


def test_a_fleet_is_founded_whenever_the_first_try_dies(tmp_path):
    for step in range(60):
        home = tmp_path / str(step)
        died = run(FOUND, step, home)
        assert died.returncode in (0, -9), died.stderr
        if died.returncode == 0:
            break
        if not (home / "identity" / "identity.pem").exists():
            found(home, "home")
        assert Identity.load(home).peer.name == "home"
        members = [m for m in Authority.open(home).state().machines if not m.revoked_s]
        assert [m.id for m in members] == [Identity.load(home).peer.machine]
    assert step > 8
