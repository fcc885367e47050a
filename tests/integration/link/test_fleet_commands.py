"""The fleet's commands as a person types them: real processes, a real listener, a real terminal."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datamover.link.authority import Authority
from datamover.link.identity import Identity
from datamover.link.permissions import Permissions

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
DEADLINE_S = 30


def environment(configuration):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DATAMOVER_")}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "DATAMOVER_CONFIG": str(configuration)}


def fleet(configuration, *arguments, given=None, **more):
    return subprocess.run(
        [sys.executable, "-m", "datamover", "fleet", *map(str, arguments)],
        env=environment(configuration) | more,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def told(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def error(done):
    assert done.returncode != 0
    return json.loads(done.stderr.splitlines()[-1])


def test_a_fleet_from_its_beginning_to_a_revocation(tmp_path, listening):
    home, laptop = tmp_path / "vault", tmp_path / "laptop"
    (made,) = told(fleet(home, "init", "--name", "vault", "--json"))
    assert made["machine"] == "vault"

    with listening(home) as address:
        grants = ["--allow", "extend", "--allow", "store:append:/srv/s"]
        invited = fleet(home, "invite", "--address", address, *grants)
        assert invited.returncode == 0, invited.stderr
        command = invited.stdout.split("datamover fleet join ")[1].split()
        joined = fleet(laptop, "join", *command, "--name", "laptop")
        assert joined.returncode == 0, joined.stderr
        assert joined.stdout.startswith("joined\n")
        assert made["fleet"] in joined.stdout

        rows = told(fleet(home, "list", "--json"))
        assert [(r["machine"], r["state"]) for r in rows] == [
            ("laptop", "member"),
            ("vault", "member"),
        ]
        (entry,) = Permissions.load(home).of("laptop")
        assert entry.extend
        assert entry.store[0].may == "append"

        (renewed,) = told(fleet(laptop, "renew", "--json"))
        assert renewed["id"] == rows[0]["id"]
        (gone,) = told(fleet(home, "revoke", "laptop", "--json"))
        assert gone["id"] == rows[0]["id"]
        refused = fleet(laptop, "renew")
        assert refused.returncode == 77
        assert "this machine was revoked" in refused.stderr
        assert "hint: " in refused.stderr

    rows = fleet(home, "list").stdout.splitlines()
    assert [line.split("\t")[:2] for line in rows] == [["laptop", "revoked"], ["vault", "member"]]


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_token_need_not_be_an_argument(way, home, listening, tmp_path):
    with listening() as address:
        token = fleet(home, "invite", "--quiet", "--address", address, "--name", "m").stdout
        if way == "file":
            (tmp_path / "token").write_text(token)
            done = fleet(tmp_path / "m", "join", "--token-file", tmp_path / "token", "--json")
        else:
            done = fleet(tmp_path / "m", "join", "--token-file", "-", "--json", given=token)

    assert told(done)[0]["machine"] == "m"


def test_a_person_is_asked_for_the_token_and_it_is_not_echoed(authority, listening, tmp_path):
    with listening() as address:
        token = authority.invite(name="m", addresses=[address]).text()
        child, terminal = pty.fork()
        if not child:
            command = [sys.executable, "-m", "datamover", "fleet", "join"]
            os.execve(command[0], command, environment(tmp_path / "m"))
        seen = until(terminal, b"token: ")
        os.write(terminal, token.encode() + b"\n")
        seen += until(terminal, b"joined")
        seen += until(terminal, None)
        _, status = os.waitpid(child, 0)
        os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0
    assert token.encode() not in seen
    assert Identity.load(tmp_path / "m").peer.name == "m"


def until(terminal, mark):
    """Read from a terminal until it shows the mark; None: until it is closed."""
    seen, deadline = b"", time.monotonic() + DEADLINE_S
    while mark is None or mark not in seen:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], seen
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            piece = b""
        if not piece:
            assert mark is None, seen
            return seen
        seen += piece
    return seen


def test_a_token_is_in_no_error_and_no_traceback(authority, listening, tmp_path):
    with listening() as address:
        used = authority.invite(addresses=[address])
        first = fleet(tmp_path / "a", "join", used.text(), "--name", "a", "--json")
        assert told(first)[0]["event"] == "member"
        again = fleet(
            tmp_path / "b", "join", used.text(), "--name", "b", "--json", DATAMOVER_DEBUG="1"
        )
        broken = fleet(tmp_path / "b", "join", used.text()[:-3], "--json", DATAMOVER_DEBUG="1")

    assert error(again)["code"] == error(broken)["code"] == "security.token"
    assert error(again)["text"] == "the invitation was used already"
    assert "Traceback" in again.stderr
    for done in (again, broken):
        assert used.text()[5:40] not in done.stdout + done.stderr
        assert used.secret.hex() not in done.stdout + done.stderr


def test_a_member_that_is_not_the_authority_lists_itself_and_says_so(member):
    done = fleet(member("laptop"), "list")

    assert done.stdout.split("\t")[:2] == ["laptop", "member"]
    assert "the authority is on another machine" in done.stderr


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        (["init", "--name", "again"], "security.enrolment"),
        (["invite", "--name", "home"], "security.name-taken"),
        (["invite", "--expires", "soon"], "usage"),
        (["invite", "--expires", "31d"], "usage"),
        (["invite", "--address", "a b"], "usage"),
        (["invite", "--allow", "everything"], "usage"),
        (["join", "x", "--token-file", "y"], "usage"),
        (["join", "--token-file", "/does/not/exist"], "security.token"),
        (["revoke", "nobody"], "usage"),
        (["revoke", "home"], "security.enrolment"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_told_by_its_code(typed, code, home):
    before = Authority.open(home).state()

    assert error(fleet(home, *typed, "--json"))["code"] == code
    assert Authority.open(home).state() == before


@pytest.mark.parametrize("command", [["list"], ["renew"], ["invite"], ["revoke", "x"]])
def test_a_machine_without_a_fleet_says_how_to_get_one(command, tmp_path):
    told = error(fleet(tmp_path, *command, "--json"))

    assert told["code"] == "security.not-enrolled"
    assert "fleet init" in told["hint"]
