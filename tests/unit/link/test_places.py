"""Where things are is found without asking, and a folder that is not ours is not used."""

import os
from pathlib import Path

import pytest

from datamover.errors import UnsafeFileError
from datamover.link import places
from datamover.link.places import configuration_folder, runtime_folder


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch):
    for name in (
        "DATAMOVER_CONFIG",
        "DATAMOVER_RUNTIME",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def user(monkeypatch, tmp_path):
    """Not root, with a home of its own."""
    owner = os.geteuid()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(places.os, "geteuid", lambda: 4242)
    return owner


def test_the_variables_are_stronger_than_everything(monkeypatch, tmp_path):
    monkeypatch.setenv("DATAMOVER_CONFIG", str(tmp_path / "c"))
    monkeypatch.setenv("DATAMOVER_RUNTIME", str(tmp_path / "r" / "s"))

    assert configuration_folder() == tmp_path / "c"
    assert not configuration_folder().exists()
    assert runtime_folder() == tmp_path / "r" / "s"
    assert runtime_folder().stat().st_mode & 0o777 == 0o700


def test_root_has_the_system_s_folders(monkeypatch):
    monkeypatch.setattr(places.os, "geteuid", lambda: 0)

    assert configuration_folder() == Path("/etc/datamover")


@pytest.mark.usefixtures("user")
def test_a_user_has_folders_of_the_desktop_s_standard(monkeypatch, tmp_path):
    assert configuration_folder() == tmp_path / ".config" / "datamover"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert configuration_folder() == tmp_path / ".config" / "datamover"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert configuration_folder() == tmp_path / "x" / "datamover"


def test_a_runtime_folder_of_another_user_is_refused(user, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    with pytest.raises(UnsafeFileError, match=f"belongs to user {user}"):
        runtime_folder()


def test_a_runtime_folder_that_others_can_write_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("DATAMOVER_RUNTIME", str(tmp_path / "r"))
    (tmp_path / "r").mkdir()
    (tmp_path / "r").chmod(0o770)

    with pytest.raises(UnsafeFileError, match=r"open to others \(mode 0770\)"):
        runtime_folder()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_folder_is_refused(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("DATAMOVER_RUNTIME", str(tmp_path / "r"))
    if kind == "link":
        (tmp_path / "r").symlink_to(tmp_path)
    else:
        (tmp_path / "r").touch()

    with pytest.raises(UnsafeFileError, match="not a folder"):
        runtime_folder()


def test_a_folder_in_tmp_is_for_its_owner_alone(monkeypatch, tmp_path):
    owner = os.geteuid()
    made = tmp_path / f"datamover-{owner}"
    monkeypatch.setattr(
        places, "Path", lambda *parts: made if "/tmp/" in parts[0] else Path(*parts)
    )
    # Root has a folder of its own, and so has no need of /tmp: its first question is answered no.
    answers = iter([1])
    monkeypatch.setattr(places.os, "geteuid", lambda: next(answers, owner))

    assert runtime_folder() == made
    made.chmod(0o750)
    answers = iter([1])
    with pytest.raises(UnsafeFileError, match=r"open to others \(mode 0750\)"):
        runtime_folder()
