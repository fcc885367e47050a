"""A member of the fleet has done what its permissions say, and nothing else."""

from pathlib import Path

import pytest

from datamover.errors import NotAllowedError, PathEscapeError
from datamover.files.found import Found
from datamover.link.peer import Peer
from datamover.link.permissions import PeerEntry, Permissions, Place
from datamover.mover.permit import FleetPermit
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.pipe.stage import Role
from datamover.stages import head, middle, tail

PEER = Peer(name="laptop", machine="0" * 32, fleet="1" * 32)


@pytest.fixture
def permit(tmp_path):
    for name in ("store", "data", "inbox"):
        (tmp_path / name).mkdir()
    entry = PeerEntry(
        machine="laptop",
        extend=True,
        store=(Place(at=str(tmp_path / "store"), may="append"),),
        path=(
            Place(at=str(tmp_path / "data"), may="read"),
            Place(at=str(tmp_path / "inbox"), may="append"),
        ),
    )
    return FleetPermit(permissions=Permissions((entry,)), peer=PEER)


def part(use, **settings):
    return PipeSpec(name="p", stages=(StageSpec(use=use, settings=settings),))


def test_what_is_permitted_is_done(permit, tmp_path):
    permit.extend(part("scan", roots=[str(tmp_path / "data" / "a")]))
    permit.extend(part("store", directory=str(tmp_path / "store")))
    permit.extend(part("load", directory=str(tmp_path / "store")))
    permit.extend(part("restore", destination=str(tmp_path / "inbox" / "new")))
    permit.extend(part("compress", codec="zstd"))
    permit.extend(part("net_receive", token="00", accept="x"))
    assert permit.depot("append", tmp_path / "store") == tmp_path / "store"


def settings_of(permit, use, **settings):
    (stage,) = permit.extend(part(use, **settings)).stages
    return stage.settings


def test_what_is_run_has_straight_paths_to_what_was_permitted(permit, tmp_path):
    (tmp_path / "data" / "in").mkdir()
    (tmp_path / "data" / "link").symlink_to("in")
    straight = f"/.{tmp_path}"

    assert settings_of(permit, "scan", roots=[f"{tmp_path}/data/link/x"], excludes=["y"]) == {
        "roots": [f"{straight}/data/in/x"],
        "excludes": ["y"],
    }
    assert settings_of(permit, "read", path=f"{tmp_path}/data/link") == {
        "path": f"{straight}/data/in"
    }
    assert settings_of(permit, "restore", destination=f"{tmp_path}/inbox/") == {
        "destination": f"{straight}/inbox"
    }
    assert settings_of(permit, "load", directory=f"{tmp_path}/store") == {
        "directory": f"{straight}/store"
    }
    signed = settings_of(permit, "sign", destination=str(tmp_path), files=["data/a"])
    assert signed["destination"] == straight


def test_a_source_that_is_a_link_keeps_its_name_and_a_look_sees_both(permit, tmp_path):
    (tmp_path / "data" / "in").mkdir()
    (tmp_path / "data" / "link").symlink_to("in")
    straight = f"/.{tmp_path}/data"

    assert settings_of(permit, "scan", roots=[f"{tmp_path}/data/link"]) == {
        "roots": [f"{straight}/link"]
    }
    settings = settings_of(permit, "look", path=f"{tmp_path}/data/link", real="/etc")
    assert settings == {"path": f"{straight}/link", "real": f"{straight}/in"}
    assert permit.look(f"{tmp_path}/data/link") == (f"{straight}/link", f"{straight}/in")
    found = Found.at(**settings)
    assert found == Found.at(f"{tmp_path}/data/link")
    assert found.is_link
    assert found.is_empty
    (tmp_path / "data" / "in").rmdir()
    (tmp_path / "data" / "in").symlink_to("/etc")
    assert not Found.at(**settings).is_folder
    assert Found.at(f"{tmp_path}/data/link").is_folder


def test_a_link_beside_what_is_permitted_is_what_it_leads_to(permit, tmp_path):
    (tmp_path / "beside").symlink_to("data")

    assert settings_of(permit, "scan", roots=[f"{tmp_path}/beside"]) == {
        "roots": [f"/.{tmp_path}/data"]
    }


def test_a_look_at_nothing_is_refused(permit):
    with pytest.raises(NotAllowedError):
        permit.extend(part("look", path=[], real="/etc"))


def test_a_target_must_be_permitted_where_it_is_and_not_only_where_it_leads(permit, tmp_path):
    (tmp_path / "alias").symlink_to("data")

    with pytest.raises(NotAllowedError):
        permit.extend(part("sign", destination=str(tmp_path), files=["alias/a"]))


@pytest.mark.parametrize(
    ("use", "settings"),
    [
        ("scan", {"roots": ["/etc"]}),
        ("scan", {"roots": ["{tmp}/data", "{tmp}"]}),
        ("collect", {"roots": "{tmp}"}),
        ("scan", {}),
        ("store", {"directory": "{tmp}/data"}),
        ("restore", {"destination": "{tmp}/data"}),
        ("restore", {"destination": "{tmp}/inbox", "overwrite": True}),
        ("write", {"path": "{tmp}/inbox/file"}),
        ("write", {"path": "-"}),
        ("read", {"path": "relative"}),
        ("read", {"path": 7}),
        ("store", {"medium": "s3://bucket/prefix"}),
        ("load", {"medium": "file://{tmp}/store"}),
        ("load", {"directory": "{tmp}/store", "medium": "s3://bucket/prefix"}),
        ("net_send", {"dial": ["10.0.0.1:22"]}),
        ("net_receive", {"command": ["sh", "-c", "true"]}),
        ("strangers_stage", {}),
    ],
)
def test_all_else_is_refused(permit, tmp_path, use, settings):
    def filled(value):
        if isinstance(value, str):
            return value.replace("{tmp}", str(tmp_path))
        return [filled(one) for one in value] if isinstance(value, list) else value

    with pytest.raises(NotAllowedError):
        permit.extend(part(use, **{name: filled(value) for name, value in settings.items()}))


def test_a_link_does_not_lead_out(permit, tmp_path):
    (tmp_path / "inbox" / "out").symlink_to("/etc")

    with pytest.raises(PathEscapeError):
        permit.extend(part("restore", destination=str(tmp_path / "inbox" / "out")))


def test_who_may_run_no_parts_runs_none(tmp_path):
    entry = PeerEntry(machine="laptop", path=(Place(at=str(tmp_path), may="write"),))
    permit = FleetPermit(permissions=Permissions((entry,)), peer=PEER)

    with pytest.raises(NotAllowedError):
        permit.extend(part("read", path=str(tmp_path / "x")))


@pytest.mark.parametrize("ask", [FleetPermit.see, FleetPermit.stop])
def test_other_pipes_are_not_a_peers_business(permit, ask):
    with pytest.raises(NotAllowedError):
        ask(permit)


def test_a_store_is_not_opened_by_the_folder_above(permit, tmp_path):
    with pytest.raises(NotAllowedError):
        permit.depot("read", tmp_path / "data")


def test_a_copy_leads_to_its_targets_and_not_to_the_folder_above(permit, tmp_path):
    data = {"sources": ["a"], "destination": str(tmp_path)}
    permit.extend(part("sign", destination=str(tmp_path), files=["data/a", "data/b"]))
    for use, names in (("sign", {"files": ["data/a", "other"]}), ("place", {"targets": []})):
        with pytest.raises(NotAllowedError):
            permit.extend(part(use, **data, **names))


@pytest.mark.parametrize("use", ["from_guest", "to_guest"])
def test_programs_are_attached_for_those_who_may(use, permit):
    with pytest.raises(NotAllowedError, match="attach to a pipe"):
        permit.extend(part(use, pipe="p"))
    entry = PeerEntry(machine="laptop", extend=True, attach=True)
    FleetPermit(permissions=Permissions((entry,)), peer=PEER).extend(part(use, pipe="p"))


def test_each_stage_of_ours_was_thought_of(permit):
    """A new stage is refused to peers until somebody says where it leads."""
    ours = {
        path.stem
        for package in (head, middle, tail)
        for path in Path(package.__file__).parent.glob("*.py")
        if path.stem != "__init__"
    }
    known = set()
    for use in ours:
        try:
            permit.extend(part(use, path="/", roots=["/"], directory="/", destination="/"))
        except NotAllowedError as error:
            if f"run stage {use}" not in error.action:
                known.add(use)
        else:
            known.add(use)

    assert ours - known == set(), f"roles: {[role.value for role in Role]}"
