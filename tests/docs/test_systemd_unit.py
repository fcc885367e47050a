"""The unit file says what systemd understands, and starts a command that there is."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datamover.cli.grammar import COMMANDS

UNIT = Path(__file__).parents[2] / "packaging/systemd/datamover.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    # The program is not where a package would put it: any executable will do for the check.
    text = UNIT.read_text().replace("/usr/bin/datamover", sys.executable)
    text = re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE)
    (tmp_path / UNIT.name).write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(tmp_path / UNIT.name)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    complaints = [line for line in found.stderr.splitlines() if UNIT.name in line]
    assert not complaints
    assert found.returncode == 0


def test_it_starts_a_command_with_options_that_there_are() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    words = unit["Service"]["ExecStart"].split()
    command = next(one for one in COMMANDS if one.words == (words[1],))

    assert words[0].endswith("/datamover")
    assert [one for one in words[2:] if one.startswith("-") and one not in command.usage] == []
