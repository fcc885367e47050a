"""The front page keeps its promises: two commands, and they are there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "scripts").iterdir())


def first_commands():
    """The shell lines of the README's first section that has any."""
    sections = re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    for section in sections:
        blocks = re.findall(
            r"^```(?:sh|console|bash|shell)?\n(.*?)^```", section, re.DOTALL | re.MULTILINE
        )
        lines = [line.strip() for block in blocks for line in block.splitlines()]
        commands = [line.removeprefix("$ ") for line in lines if line and line[0] != "#"]
        if commands:
            return commands
    return []


def test_the_first_section_has_exactly_two_commands_and_both_can_be_run():
    commands = first_commands()

    assert len(commands) == 2
    for command in commands:
        program = ROOT / command.split()[0]
        assert os.access(program, os.X_OK)


def test_ci_runs_the_second_command():
    program = first_commands()[1].split()[0].removeprefix("./")

    assert program in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda p: p.name)
def test_a_script_is_plain_shell_that_parses_and_can_be_run(script):
    assert script.read_text().startswith("#!/bin/sh\n")
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.parametrize("name", ["LICENSE", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_the_usual_documents_are_there(name):
    assert (ROOT / name).stat().st_size > 500


def test_every_page_that_a_page_links_to_exists():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    broken = [
        (page.name, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert broken == []
