"""What is typed means what the grammar says."""

import inspect
import re
from importlib import import_module

import pytest

from datamover.cli import app
from datamover.cli.app import run
from datamover.cli.grammar import COMMANDS, GROUPS
from datamover.errors import UsageError

NEVER_OPTIONS = {"everywhere", "network"}


def function_of(command):
    module, _, name = command.function.partition(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.words))
def test_the_grammar_names_every_option_of_the_function(command):
    parameters = inspect.signature(function_of(command)).parameters.values()
    options = {
        "--" + p.name.rstrip("_").replace("_", "-")
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.name not in NEVER_OPTIONS
    }

    assert options == set(re.findall(r"--[a-z-]+", command.usage))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.words))
def test_the_function_says_what_the_grammar_says_and_takes_the_common_options(command):
    function = function_of(command)

    assert (function.__doc__ or "").splitlines()[0] == command.summary
    assert "everywhere" in inspect.signature(function).parameters
    assert all(example.startswith("datamover ") for example in command.examples)


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c.stages], ids=lambda c: " ".join(c.words)
)
def test_the_stages_of_a_head_start_are_stages(command):
    module, _, name = command.stages.partition(":")

    assert all(hasattr(import_module(one), "STAGE") for one in getattr(import_module(module), name))


def test_every_group_has_commands_and_every_first_word_of_two_is_a_group():
    assert {c.words[0] for c in COMMANDS if len(c.words) == 2} == set(GROUPS)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (["bakup"], 'unknown command "bakup"'),
        (["backup", "a"], "--to"),
        (["backup", "--to", "s"], "PATHS"),
        (["init", "s", "--encryption", "rot13"], "aes-256-gcm"),
        (["archives", "s", "--frob"], "--frob"),
        (["restore", "--to", "d"], "--from"),
        (["completion", "tcsh"], "bash"),
    ],
)
def test_what_does_not_parse_is_a_usage_error_that_says_what(typed, reason):
    with pytest.raises(UsageError) as caught:
        run(typed)

    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--json", "archives", "s"], ["archives", "--json", "s"]),
        (["--passphrase-file", "f", "ls", "s"], ["ls", "--passphrase-file", "f", "s"]),
        (["--quiet", "--json", "pipe", "show", "f"], ["pipe", "show", "--quiet", "--json", "f"]),
        (["archives", "s", "--json"], ["archives", "s", "--json"]),
        (["--json"], ["--json"]),
        (["--json", "--help"], ["--json", "--help"]),
        ([], []),
    ],
)
def test_common_options_may_stand_before_the_command(typed, meant):
    assert app._globals_after_command(typed) == meant


def test_help_shows_the_examples(capsys):
    run(["pipe", "show", "--help"])

    out = capsys.readouterr().out
    assert "Usage: datamover pipe show SPEC.toml" in out
    assert "  datamover pipe show pipe.toml\n" in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_the_commands(shell, capsys):
    run(["completion", shell])

    out = capsys.readouterr().out
    assert all(command.words[-1] in out for command in COMMANDS)
