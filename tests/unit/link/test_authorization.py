"""A peer may do what is written, where it is written; no path leads out."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import (
    DataMoverError,
    MalformedError,
    NotAllowedError,
    PathEscapeError,
    UsageError,
)
from datamover.files.descent import Descent
from datamover.link.authorization import Action, Grant, allow, allow_path, authorize, resolve
from datamover.link.peer import Peer
from datamover.link.permissions import (
    Permissions,
    forget_grants,
    keep_grants,
    parse_grant,
    parse_permissions,
)

PEER = Peer(name="laptop-7", machine="1" * 32, fleet="2" * 32)
OTHER = Peer(name="desktop", machine="3" * 32, fleet="2" * 32)
FLAGS = {
    "extend": Action.EXTEND,
    "attach": Action.ATTACH,
    "status": Action.STATUS,
    "stop": Action.STOP,
}
STORE = [Action.READ_STORE, Action.APPEND_STORE, Action.WRITE_STORE]
PATH = [Action.READ_PATH, Action.CREATE_PATH, Action.WRITE_PATH]
MAY = ["read", "append", "write"]


def permissions(text):
    return parse_permissions(text.encode())


def place(kind, at, may, machine="laptop-*"):
    return f'[[peer]]\nmachine = "{machine}"\n[[peer.{kind}]]\nat = "{at}"\nmay = "{may}"\n'


def is_allowed(given, peer, action, path=None):
    where = resolve(peer, action, path) if path else None
    try:
        authorize(given, peer, action, where)
    except NotAllowedError:
        return False
    return True


@pytest.mark.parametrize("action", Action)
def test_a_fresh_machine_permits_nothing(action, tmp_path):
    assert not is_allowed(Permissions.load(tmp_path), PEER, action, "/")


@pytest.mark.parametrize("flag", FLAGS)
def test_a_word_permits_its_action_and_no_other(flag):
    given = permissions(f'[[peer]]\nmachine = "laptop-7"\n{flag} = true\n')

    assert [a for a in FLAGS.values() if is_allowed(given, PEER, a)] == [FLAGS[flag]]
    assert not is_allowed(given, OTHER, FLAGS[flag])


@pytest.mark.parametrize(("kind", "actions"), [("store", STORE), ("path", PATH)])
@pytest.mark.parametrize("may", MAY)
def test_each_level_permits_what_is_below_it(kind, actions, may, tmp_path):
    given = permissions(place(kind, tmp_path, may))
    allowed = [a for a in STORE + PATH if is_allowed(given, PEER, a, str(tmp_path))]

    assert allowed == actions[: MAY.index(may) + 1]


def test_append_never_removes_nor_overwrites(tmp_path):
    given = permissions(place("store", tmp_path, "append"))

    assert is_allowed(given, PEER, Action.APPEND_STORE, str(tmp_path))
    with pytest.raises(NotAllowedError, match="laptop-7 may not remove from the store"):
        allow_path(given, PEER, Action.WRITE_STORE, str(tmp_path))


def test_a_store_is_itself_and_a_path_is_all_below(tmp_path):
    below = str(tmp_path / "a" / "b")

    assert not is_allowed(
        permissions(place("store", tmp_path, "read")), PEER, Action.READ_STORE, below
    )
    given = permissions(place("path", tmp_path, "read"))
    granted = authorize(given, PEER, Action.READ_PATH, resolve(PEER, Action.READ_PATH, below))
    assert granted == Grant(base=str(tmp_path), below="a/b")
    assert not is_allowed(given, PEER, Action.READ_PATH, f"{tmp_path}-other/a")
    assert not is_allowed(given, PEER, Action.READ_PATH, str(tmp_path.parent))


def test_the_root_may_be_given():
    given = permissions(place("path", "/", "read"))

    granted = authorize(given, PEER, Action.READ_PATH, resolve(PEER, Action.READ_PATH, "/usr/x"))
    assert granted.base == "/"
    assert granted.below.endswith("x")


def test_entries_add_up(tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    given = permissions(place("path", one, "read") + place("path", two, "write", "*"))

    assert is_allowed(given, PEER, Action.READ_PATH, str(one))
    assert is_allowed(given, PEER, Action.WRITE_PATH, str(two))
    assert not is_allowed(given, PEER, Action.WRITE_PATH, str(one))


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("laptop-7", True),
        ("laptop-*", True),
        ("laptop-?", True),
        ("*", True),
        ("laptop", False),
        ("l.ptop-7", False),
        ("desk*", False),
        ("laptop-7?", False),
    ],
)
def test_patterns_know_two_signs(pattern, fits):
    given = permissions(f'[[peer]]\nmachine = "{pattern}"\nextend = true\n')

    assert is_allowed(given, PEER, Action.EXTEND) == fits


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{base}/../secret", "it has .. in it"),
        ("{base}/a/..", "it has .. in it"),
        ("relative", "it is not absolute"),
        ("", "it is not absolute"),
        ("{base}/a\0b", "it has a NUL"),
        ("{base}/" + "a" * 5000, "it is longer"),
    ],
)
def test_a_path_that_tricks_is_an_escape(path, reason, tmp_path):
    given = permissions(place("path", tmp_path, "write"))

    with pytest.raises(PathEscapeError, match=reason):
        allow_path(given, PEER, Action.READ_PATH, path.format(base=tmp_path))


def test_a_link_that_leads_out_is_an_escape_and_one_that_stays_is_not(tmp_path, caplog):
    base = tmp_path / "base"
    (base / "in").mkdir(parents=True)
    (base / "out").symlink_to("/etc")
    (base / "up").symlink_to("../..")
    (base / "stay").symlink_to("in")
    given = permissions(place("path", base, "write"))

    for name in ("out", "out/passwd", "out/not-there", "up", "up/x"):
        with pytest.raises(PathEscapeError, match="a link in it leads out"):
            allow_path(given, PEER, Action.WRITE_PATH, f"{base}/{name}")
    stays = allow_path(given, PEER, Action.WRITE_PATH, f"{base}/stay/new/file")
    assert stays == Grant(base=str(base), below="in/new/file")
    lines = [r.getMessage() for r in caplog.records]
    assert lines[0].startswith("peer.refused machine=laptop-7 action=change place=")
    assert lines[0].endswith("code=security.path-escape")


def test_links_that_lead_in_a_circle_lead_nowhere(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    given = permissions(place("path", tmp_path, "write"))

    for name in ("a", "a/x", "a/x/y"):
        with pytest.raises(PathEscapeError, match="in a circle"):
            allow_path(given, PEER, Action.WRITE_PATH, f"{tmp_path}/{name}")


def test_a_place_that_is_a_link_means_what_it_leads_to(tmp_path):
    (tmp_path / "disk" / "data").mkdir(parents=True)
    (tmp_path / "srv").symlink_to("disk")
    (tmp_path / "peers.toml").write_text(place("path", tmp_path / "srv" / "data", "read"))
    given = Permissions.load(tmp_path)

    for asked in ("srv/data/x", "disk/data/x"):
        granted = allow_path(given, PEER, Action.READ_PATH, str(tmp_path / asked))
        assert granted == Grant(base=str(tmp_path / "disk" / "data"), below="x")


def test_a_link_made_after_the_check_leads_nowhere_for_who_goes_down_by_descriptors(tmp_path):
    base = tmp_path / "base"
    (base / "d").mkdir(parents=True)
    given = permissions(place("path", base, "write"))
    granted = allow_path(given, PEER, Action.WRITE_PATH, f"{base}/d")
    (base / "d").rmdir()
    (base / "d").symlink_to("/etc")

    with (
        Descent(os.open(granted.base, os.O_RDONLY | os.O_DIRECTORY)) as descent,
        pytest.raises(NotADirectoryError),
    ):
        descent.enter(granted.below.encode())


parts = st.sampled_from(["a", "b", "in", "out", "up", ".", "..", "", "x\0y", "loop"])


@given(st.lists(parts, max_size=6).map("/".join))
def test_whatever_is_granted_lies_in_the_base(tmp_path_factory, asked):
    base = tmp_path_factory.getbasetemp() / "property"
    if not base.exists():
        (base / "a" / "in").mkdir(parents=True)
        (base / "out").symlink_to("/usr")
        (base / "a" / "up").symlink_to("../..")
        (base / "loop").symlink_to("loop")
    given = permissions(place("path", base, "write"))
    try:
        granted = allow_path(given, PEER, Action.WRITE_PATH, f"{base}/{asked}")
    except NotAllowedError:
        return

    real = os.path.realpath(f"{base}/{asked}")
    assert real == os.path.normpath(f"{granted.base}/{granted.below}")
    assert os.path.commonpath([real, base]) == str(base)
    assert ".." not in granted.below.split("/")


def test_what_has_no_place_needs_none_and_what_has_one_needs_it(tmp_path, caplog):
    given = permissions(place("path", tmp_path, "write"))

    with pytest.raises(NotAllowedError, match="without a place"):
        authorize(given, PEER, Action.READ_PATH)
    with pytest.raises(NotAllowedError, match="may not run a part of a pipe"):
        allow(given, PEER, Action.EXTEND)
    assert "code=security.not-allowed" in caplog.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[peer]]\n", "machine"),
        ('[[peer]]\nmachine = "a"\nextends = true\n', "extends"),
        ('[[peer]]\nmachine = "A!"\n', r"\$.peer\[0\].machine"),
        ('[[peer]]\nmachine = "a"\nextend = "yes"\n', r"\$.peer\[0\].extend"),
        (place("path", "relative", "read"), r"\$.peer\[0\].path\[0\].at"),
        (place("path", "/", "rwx"), r"\$.peer\[0\].path\[0\].may"),
        ('[[peer]]\nmachine = "a"\nextend = \n', "line 3"),
        ("peer = 5\n", r"\$.peer"),
        ("colour = 1\n", "colour"),
    ],
)
def test_what_cannot_be_understood_is_named(text, told):
    with pytest.raises(MalformedError, match=told) as caught:
        permissions(text)
    assert str(caught.value).startswith("peers.toml: ")


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_permissions_or_an_error(data):
    try:
        parse_permissions(data)
    except MalformedError:
        return


def test_a_file_that_is_not_utf8_says_where(tmp_path):
    (tmp_path / "peers.toml").write_bytes(b"# caf\xe9\n")

    with pytest.raises(MalformedError, match=r"peers\.toml: byte 5 is not UTF-8"):
        Permissions.load(tmp_path)


grants = st.lists(
    st.sampled_from(list(FLAGS))
    | st.builds(
        "{}:{}:/{}".format,
        st.sampled_from(["store", "path"]),
        st.sampled_from(MAY),
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20),
    ),
    min_size=1,
    max_size=5,
)


@given(grants)
def test_what_an_invitation_grants_is_read_back(tmp_path_factory, given_texts):
    folder = tmp_path_factory.getbasetemp() / "grants"
    try:
        wanted = [parse_grant(text) for text in given_texts]
    except UsageError:
        return
    keep_grants(folder, "laptop-7", given_texts)
    (entry,) = Permissions.load(folder).of("laptop-7")

    assert {w for w, p in wanted if p is None} == {w for w in FLAGS if getattr(entry, w)}
    assert [p for w, p in wanted if w == "store"] == list(entry.store)
    assert [p for w, p in wanted if w == "path"] == list(entry.path)


def test_grants_are_forgotten(tmp_path):
    keep_grants(tmp_path, "laptop-7", ["extend"])
    assert is_allowed(Permissions.load(tmp_path), PEER, Action.EXTEND)
    keep_grants(tmp_path, "laptop-7", [])
    assert not is_allowed(Permissions.load(tmp_path), PEER, Action.EXTEND)
    forget_grants(tmp_path, "laptop-7")


@pytest.mark.parametrize(
    "text",
    ["", "everything", "path:read", "path:rwx:/", "path:read:a", "file:read:/", "path:read:/\n"],
)
def test_what_is_no_grant_is_refused(text):
    with pytest.raises(UsageError, match="not a grant"):
        parse_grant(text)


def test_every_refusal_is_an_error_of_ours():
    assert issubclass(PathEscapeError, NotAllowedError)
    assert issubclass(NotAllowedError, DataMoverError)
