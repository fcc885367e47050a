"""Where a passphrase comes from, and that it does not stay behind."""

import getpass
import os

import pytest

from datamover.cli import secret
from datamover.cli.secret import VARIABLE, Passphrase
from datamover.errors import PassphraseError


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def terminal(monkeypatch):
    """A terminal at which these answers are typed."""
    answers = []
    monkeypatch.setattr(os, "open", lambda *_: os.dup(0))
    monkeypatch.setattr(getpass, "getpass", lambda _: answers.pop(0))
    return answers


def test_the_variable_is_taken_and_no_child_inherits_it(monkeypatch):
    monkeypatch.setenv(VARIABLE, "open sesame")
    passphrase = Passphrase(None)

    assert VARIABLE not in os.environ
    assert passphrase() == b"open sesame"
    assert passphrase() == b"open sesame"


def test_a_file_that_was_named_is_stronger_than_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "other")
    (tmp_path / "p").write_bytes(b"from a file\r\nnot this\n")

    assert Passphrase(str(tmp_path / "p"))() == b"from a file"
    assert VARIABLE not in os.environ


def test_a_passphrase_may_hold_any_byte_but_a_line_end(tmp_path):
    (tmp_path / "p").write_bytes(b" \xff\x00 ")

    assert Passphrase(str(tmp_path / "p"))() == b" \xff\x00 "


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 5000])
def test_an_empty_or_endless_file_is_refused(content, tmp_path):
    (tmp_path / "p").write_bytes(content)

    with pytest.raises(PassphraseError, match=r"/p: "):
        Passphrase(str(tmp_path / "p"))()


def test_a_file_that_is_not_there_is_a_passphrase_error(tmp_path):
    with pytest.raises(PassphraseError, match="No such file"):
        Passphrase(str(tmp_path / "p"))()


def test_an_empty_variable_is_no_passphrase(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")

    with pytest.raises(PassphraseError, match="empty"):
        Passphrase(None)()


def test_without_a_terminal_nobody_is_asked(monkeypatch):
    def refuse(*_):
        raise OSError(6, "no such device")

    monkeypatch.setattr(secret.os, "open", refuse)

    with pytest.raises(PassphraseError, match="no terminal") as caught:
        Passphrase(None)()
    assert "--passphrase-file" in caught.value.hint


def test_a_person_is_asked_once(terminal):
    terminal += ["säsäm"]

    assert Passphrase(None)() == "säsäm".encode()


def test_a_new_passphrase_is_asked_for_twice(terminal):
    terminal += ["one", "two"]

    with pytest.raises(PassphraseError, match="differ"):
        Passphrase(None, twice=True)()


def test_an_empty_answer_is_no_passphrase(terminal):
    terminal += [""]

    with pytest.raises(PassphraseError, match="empty"):
        Passphrase(None)()
