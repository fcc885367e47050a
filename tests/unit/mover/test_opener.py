"""A key that was begun early is found by whoever opens that store with that passphrase alone."""

import os
import threading

import pytest

from datamover.cli import head_start
from datamover.cli.secret import VARIABLE
from datamover.codec.keys import KdfParameters
from datamover.errors import PassphraseError
from datamover.mover import opener
from datamover.mover.description import read_description
from datamover.mover.opener import begin_opening, drop_opening, opening
from datamover.mover.store import Store, create_store

CHEAP = KdfParameters(salt=b"0123456789abcdef", memory_kib=64, iterations=1, lanes=1)
SECRET = b"open sesame"


@pytest.fixture
def folder(tmp_path):
    create_store(tmp_path / "store", passphrase=SECRET, cipher="aes-256-gcm", kdf=CHEAP)
    yield tmp_path / "store"
    drop_opening()


@pytest.fixture
def derived(monkeypatch):
    """The passphrases that keys were derived from."""
    found = []
    real = opener.derive_key

    def derive(passphrase, parameters):
        found.append(passphrase)
        return real(passphrase, parameters)

    monkeypatch.setattr(opener, "derive_key", derive)
    return found


def threads():
    return [one for one in threading.enumerate() if one.name == "unlock"]


def test_what_was_begun_is_not_done_again(folder, derived):
    begin_opening(folder, SECRET)
    with Store.open(folder, lambda: SECRET) as store:
        key = store.unlock()

    assert len(key) == 32
    assert derived == [SECRET]


def test_what_was_begun_with_another_passphrase_is_no_answer(folder, derived):
    begin_opening(folder, SECRET)
    with Store.open(folder, lambda: b"wrong") as store, pytest.raises(PassphraseError):
        store.unlock()
    with Store.open(folder, lambda: SECRET) as store:
        key = store.unlock()

    assert len(key) == 32
    assert sorted(derived) == [SECRET, SECRET, b"wrong"]


def test_what_was_begun_for_another_store_is_no_answer(folder, tmp_path, derived):
    create_store(tmp_path / "other", passphrase=SECRET, cipher="aes-256-gcm", kdf=CHEAP)
    begin_opening(tmp_path / "other", SECRET)
    other = opening(read_description(tmp_path / "other"), SECRET).key()
    begin_opening(tmp_path / "other", SECRET)
    with Store.open(folder, lambda: SECRET) as store:
        key = store.unlock()

    assert key != other
    assert len(derived) == 3


def test_a_wrong_passphrase_is_an_error_for_who_asks(folder):
    begin_opening(folder, b"wrong")
    begun = opening(read_description(folder), b"wrong")
    with pytest.raises(PassphraseError, match="does not open"):
        begun.key()


def test_where_there_is_no_store_nothing_is_begun(tmp_path):
    create_store(tmp_path / "plain", passphrase=None, cipher="none")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/store.json").write_bytes(b"{")
    for name in ("nothing", "plain", "damaged", "host:folder"):
        begin_opening(tmp_path / name, SECRET)

    assert threads() == []


def test_what_nobody_takes_has_ended_when_it_is_dropped(folder):
    begin_opening(folder, SECRET)
    drop_opening()

    assert threads() == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("backup /data --to {}", [SECRET]),
        ("backup --to={} /data", [SECRET]),
        ("restore --to /elsewhere --from {}", [SECRET]),
        ("restore --from={} --to /elsewhere", [SECRET]),
        ("backup /data --to", []),
        ("backup /data --to {} --dry-run", []),
        ("backup /data --to {} --passphrase-file /file", []),
        ("backup /data --to {} --passphrase-file=/file", []),
    ],
)
def test_a_command_that_names_a_store_begins(folder, derived, monkeypatch, arguments, expected):
    monkeypatch.setitem(os.environ, VARIABLE, SECRET.decode())
    head_start._open_soon(arguments.format(folder).split())
    drop_opening()

    assert derived == expected


def test_without_a_passphrase_in_the_environment_nothing_is_begun(folder, derived, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    head_start._open_soon(["backup", "/data", "--to", str(folder)])

    assert derived == []
