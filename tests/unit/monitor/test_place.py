"""What a person writes for another machine is read, and nothing that a shell could misread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import UsageError
from datamover.monitor.place import Host, Place, parse_host, parse_place


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("/srv/data", None, "/srv/data"),
        ("./a:b", None, "./a:b"),
        ("dir/a:b", None, "dir/a:b"),
        ("plain", None, "plain"),
        ("", None, ""),
        ("far:/srv/data", Host(name="far"), "/srv/data"),
        ("far:", Host(name="far"), ""),
        ("far:a:b", Host(name="far"), "a:b"),
        ("me@far:x", Host(name="far", user="me"), "x"),
        ("me@corp@far:x", Host(name="far", user="me@corp"), "x"),
        ("[::1]:/x", Host(name="::1"), "/x"),
        ("me@[fe80::1%eth0]:/x:y", Host(name="fe80::1%eth0", user="me"), "/x:y"),
        ("ssh://far/x", Host(name="far"), "/x"),
        ("ssh://me@far:2222/x", Host(name="far", user="me", port=2222), "/x"),
        ("ssh://[::1]:22/x", Host(name="::1", port=22), "/x"),
        ("far:\udcff", Host(name="far"), "\udcff"),
    ],
)
def test_a_place_is_read(text: str, host: Host | None, path: str) -> None:
    assert parse_place(text) == Place(host=host, path=path)


@pytest.mark.parametrize(
    "text",
    [
        ":x",
        "-oProxyCommand=x:y",
        "-l@far:x",
        "me@-far:x",
        "a b:x",
        "$(x):y",
        "[::1:x",
        "[far]:x",
        "ssh://far:0/x",
        "ssh://far:65536/x",
        "ssh:///x",
        "ssh://-far/x",
        "x" * 300 + ":y",
        "\nfar:x",
        "far\n:x",
    ],
)
def test_what_is_no_machine_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_place(text)


@given(st.text(alphabet="ab-@[]:/.%0\\$ \n", max_size=12))
def test_whatever_is_written_no_option_and_no_space_becomes_a_host(text: str) -> None:
    try:
        place = parse_place(text)
    except UsageError:
        return
    if place.host is not None:
        for word in (place.host.name, place.host.user):
            assert not word.startswith("-")
            assert not set(word) & set(" \n[]/")
        assert parse_place(str(place)) == place or place.host.port


def test_a_host_alone_may_have_a_port() -> None:
    assert parse_host("me@far:22") == Host(name="far", user="me", port=22)
    assert parse_host("[::1]") == Host(name="::1")
    assert str(Host(name="::1", user="me", port=22)) == "me@[::1]:22"
