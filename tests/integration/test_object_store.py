"""What goes wrong between us and an object store is told in words that help, and loses nothing."""

from __future__ import annotations

import os

import pytest

from datamover.errors import (
    MediumFullError,
    MediumRefusedError,
    MediumUnreachableError,
    StoreError,
    UsageError,
)
from datamover.ids import StoreId
from datamover.media import object_store
from datamover.media.address import MediumAddress
from datamover.media.label import Owner
from datamover.media.naming import chunk_name
from datamover.media.object_access import ObjectAccess
from datamover.media.object_requests import ObjectRequests
from datamover.media.object_writer import Areas
from datamover.media.opening import open_medium
from datamover.stages.head import load
from datamover.stages.tail import store
from datamover.testing.media import read_chunk, store_chunk
from datamover.testing.object_server import FailingWay, GivenServer, object_address
from datamover.testing.port import ScriptedPort
from datamover.units import MIB, Bytes

pytestmark = pytest.mark.processes

A, B = "00-0000000a.dmc", "00-0000000b.dmc"
LONG = bytes(range(256)) * (12 * MIB // 256)


@pytest.fixture
def place(request):
    return f"faults/{abs(hash(request.node.nodeid)):x}"


@pytest.fixture(autouse=True)
def few_repeats(monkeypatch):
    monkeypatch.setattr(object_store, "_REPEATS", 2)


def unfinished(address):
    access = ObjectAccess.of(MediumAddress.parse(address))
    return [one.key for one in ObjectRequests(access).uploads(access.prefix)]


def checks_keys(objects, place, monkeypatch):
    """The one that the tests bring does; one that is given may not."""
    if not isinstance(objects, GivenServer):
        return True
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        try:
            with open_medium(objects.address(place)) as medium:
                medium.create(A).abandon()
        except MediumRefusedError:
            return True
    return False


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AWS_ACCESS_KEY_ID", "stranger", "not known"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "secret"),
        ("AWS_SECRET_ACCESS_KEY", "", "no access key in the environment"),
    ],
)
def test_a_wrong_key_is_told_so(objects, place, monkeypatch, variable, value, words):
    if value and not checks_keys(objects, place, monkeypatch):
        pytest.skip("this server lets everybody in")
    monkeypatch.setenv(variable, value)
    with (
        pytest.raises(MediumRefusedError, match=words) as caught,
        open_medium(objects.address(place)) as medium,
    ):
        medium.create(A)

    assert objects.environment["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_a_bucket_that_is_not_there_is_told_so(objects):
    address = objects.address("x").replace("s3://bucket", "s3://no-such-bucket")
    for ask in (
        lambda medium: medium.create(A),
        lambda medium: medium.open(A),
        lambda medium: list(medium.names()),
        lambda medium: medium.clean(),
        lambda medium: medium.forget(A),
    ):
        with open_medium(address) as medium, pytest.raises(MediumRefusedError, match="bucket"):
            ask(medium)


def test_an_endpoint_that_is_down_is_told_so(objects, place):
    with FailingWay(objects.endpoint) as way:
        address = object_address(way.endpoint, place)
    for ask in (
        lambda medium: medium.create(A),
        lambda medium: medium.open(A),
        lambda medium: list(medium.names()),
        lambda medium: medium.clean(),
    ):
        with open_medium(address) as medium, pytest.raises(MediumUnreachableError, match="answer"):
            ask(medium)


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        ("F", MediumFullError),
        (".F", MediumFullError),
        ("..F", MediumFullError),
        ("C", MediumRefusedError),
        ("B", MediumUnreachableError),
        (".D", MediumUnreachableError),
        (".E", StoreError),
    ],
)
def test_an_upload_that_fails_leaves_nothing(objects, place, plan, error):
    with (
        FailingWay(objects.endpoint, plan) as way,
        open_medium(object_address(way.endpoint, place, part="5MiB")) as medium,
    ):
        with pytest.raises(error):
            store_chunk(medium, A, LONG)

        assert list(medium.names()) == []
    assert unfinished(objects.address(place)) == []


@pytest.mark.parametrize("plan", ["B.", "D.", ".B.D.B.", "BB."])
def test_what_fails_now_and_then_is_repeated(objects, place, plan):
    with (
        FailingWay(objects.endpoint, plan) as way,
        open_medium(object_address(way.endpoint, place, part="5MiB")) as medium,
    ):
        store_chunk(medium, A, LONG)

        assert way.requests > 5
        assert read_chunk(medium, A) == LONG


def test_a_chunk_that_came_meanwhile_is_not_replaced(objects, place):
    with open_medium(objects.address(place, part="5MiB")) as medium:
        one, two = medium.create(A), medium.create(A)
        two.write([LONG])
        one.write([b"first"])
        one.commit()
        with pytest.raises(StoreError, match="already there"):
            two.commit()

        assert read_chunk(medium, A) == b"first"
    assert unfinished(objects.address(place)) == []


def test_what_lies_beside_chunks_is_no_chunk(objects, place):
    with open_medium(objects.address(f"{place}/chunks")) as medium:
        store_chunk(medium, A, b"deeper")
    with open_medium(objects.address(place)) as medium:
        store_chunk(medium, B, b"here")

        assert list(medium.names()) == [B]
    with open_medium(objects.address(place[:-1])) as medium:
        assert list(medium.names()) == []


def test_a_place_is_labelled_and_not_given_to_another_store(objects, place):
    mine = Owner(store=StoreId(b"m" * 16), description=b'{"id": "..."}')
    with open_medium(objects.address(place), mine) as medium:
        store_chunk(medium, A, b"mine")
    with open_medium(objects.address(place), mine) as medium:
        store_chunk(medium, B, b"mine too")
        label = medium.label()
    other = Owner(store=StoreId(b"o" * 16))
    with open_medium(objects.address(place), other) as medium:
        for _ in range(2):
            with pytest.raises(StoreError, match="belongs to store 6d6d"):
                medium.create("00-0000000c.dmc")

    assert (label.store, label.description) == (mine.store, mine.description)


def test_a_small_chunk_is_not_replaced_where_the_server_sees_to_it(objects, place):
    with open_medium(objects.address(place)) as medium:
        honoured = medium.probe().create
        one, two = medium.create(A), medium.create(A)
        one.write([b"first"])
        two.write([b"second"])
        one.commit()
        if honoured:
            with pytest.raises(StoreError, match="already there"):
                two.commit()
        else:
            two.commit()

        assert read_chunk(medium, A) == (b"first" if honoured else b"second")
        assert list(medium.names()) == [A]


def test_reading_on_fetches_ahead_and_each_byte_once(objects, place):
    payload = os.urandom(30 * MIB)
    with (
        FailingWay(objects.endpoint) as way,
        open_medium(object_address(way.endpoint, place)) as medium,
    ):
        store_chunk(medium, A, payload)
        with medium.open(A) as reader:
            way.answered = 0
            whole = bytearray(len(payload))
            for at in range(0, len(payload), MIB):
                reader.read_into([memoryview(whole)[at : at + MIB]], at)

        assert bytes(whole) == payload
        assert way.answered < len(payload) * 1.2


def test_a_load_from_a_server_that_is_gone_ends_and_blames_no_chunk(objects, place):
    with FailingWay(objects.endpoint) as way:
        address = object_address(way.endpoint, place)
    port = ScriptedPort()
    names = tuple(chunk_name(bytes(16), number) for number in range(3))
    with pytest.raises(MediumUnreachableError):
        load.run(port, load.Settings(medium=address, chunks=names))

    assert port.notices == []


def test_a_store_on_a_server_that_is_full_ends_and_leaves_no_torn_chunk(objects, place):
    port = ScriptedPort([(None, LONG[: 4 * MIB])] * 4, buffer_size=4 * MIB)
    with FailingWay(objects.endpoint, room=10 * MIB) as way:
        address = object_address(way.endpoint, place, part="5MiB")
        with pytest.raises(MediumFullError):
            store.run(port, store.Settings(medium=address, chunk_size=6 * MIB))

    with open_medium(objects.address(place)) as medium:
        whole = list(medium.names())
        assert len(port.noticed("chunk")) <= len(whole) < 4
        for name in whole:
            assert len(read_chunk(medium, name)) > 4 * MIB
    assert unfinished(objects.address(place)) == []


@pytest.mark.parametrize(
    "address",
    [
        "s3:///prefix",
        "s3://B/x",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "s3://bucket/a%00b",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=http://u:p@host",
        "s3://bucket?endpoint=http://host:port",
        "s3://bucket?region=../x",
        "s3://bucket?part=1MiB",
        "s3://bucket?parallel=0",
        "s3://bucket?parallel=x",
        "s3://bucket?color=red",
    ],
)
@pytest.mark.usefixtures("objects")
def test_an_address_that_cannot_be_one_is_refused(address):
    with pytest.raises(UsageError):
        open_medium(address)


def test_an_area_is_used_again_only_when_nobody_looks_at_it():
    areas = Areas(Bytes(16))
    area = areas.take()
    whole, part = area.obj, area[:5]
    looker = memoryview(part)
    areas.lend(area, part)
    second = areas.take()

    assert second.obj is not whole
    looker.release()
    assert areas.take().obj is whole
    assert len(whole) == 16
