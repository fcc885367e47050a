"""A stage that breaks its role does not type-check: the verb is not there to call."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNIPPET = """
from datamover.pipe.ports import HeadPort, MiddlePort, TailPort

def head_that_receives(port: HeadPort) -> None:
    port.receive()

def head_that_loops(port: HeadPort) -> None:
    port.incoming()

def tail_that_sends(port: TailPort) -> None:
    for buffer in port.incoming():
        port.send(buffer)

def tail_that_allocates(port: TailPort) -> None:
    port.alloc()

def middle_that_does_all_four(port: MiddlePort) -> None:
    for buffer in port.incoming():
        fresh = port.alloc()
        port.free(buffer)
        port.send(fresh)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_type_checker_knows_which_verbs_a_role_has(tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(SNIPPET)
    cache = ROOT / ".mypy_cache"
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports=silent",
            "--no-error-summary",
            "--config-file=",
            "--cache-dir",
            str(cache / "typing"),
            "--ignore-missing-imports",
            str(tmp_path / "snippet.py"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"MYPYPATH": str(ROOT / "src"), "PATH": ""},
    )

    assert [line.split("error: ")[1] for line in found.stdout.splitlines()] == [
        '"HeadPort" has no attribute "receive"  [attr-defined]',
        '"HeadPort" has no attribute "incoming"  [attr-defined]',
        '"TailPort" has no attribute "send"  [attr-defined]',
        '"TailPort" has no attribute "alloc"  [attr-defined]',
    ]
