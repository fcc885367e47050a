"""Other machines for tests of a real command: folders of their own, behind a stand-in for ssh.

The shell joins words and relays input and output as ssh does; each machine is a folder, with an
environment and a runtime folder of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datamover.testing.remote_shell import Reached, remote_shell

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60


@pytest.fixture
def near(tmp_path):
    """Run a command here; its keyword ``start`` leaves it running."""
    program = f"{sys.executable} -m datamover"
    everywhere = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]}
    hosts = {}
    for name in ("vault", "attic"):
        (tmp_path / name).mkdir()
        environment = {**everywhere, "DATAMOVER_RUNTIME": str(tmp_path / name / "run")}
        hosts[name] = Reached(folder=str(tmp_path / name), environment=environment)
    shell = remote_shell(tmp_path / "hosts.json", hosts)
    here = {
        **everywhere,
        "HOME": str(tmp_path),
        "DATAMOVER_RUNTIME": str(tmp_path / "run"),
        "DATAMOVER_STATE": str(tmp_path / "state"),
        "DATAMOVER_RSH": shell,
        "DATAMOVER_REMOTE": program,
        "DATAMOVER_PASSPHRASE": "correct horse",
    }

    def run(*words, start=False, **extra):
        command = [sys.executable, "-m", "datamover", *map(str, words)]
        given = {"env": here | extra, "stdin": subprocess.DEVNULL, "text": True}
        if start:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **given
            )
        return subprocess.run(
            command, capture_output=True, timeout=DEADLINE_S, check=False, **given
        )

    run.vault, run.attic = tmp_path / "vault", tmp_path / "attic"
    return run
