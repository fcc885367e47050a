"""A depot behind a conversation answers as the one that is here, through encoded messages."""

import os
from dataclasses import replace

import msgspec
import pytest

from datamover.catalog.rows import ArchiveState, PageKind
from datamover.errors import (
    ArchiveBusyError,
    ArchiveMissingError,
    MalformedError,
    RuleError,
    UsageError,
)
from datamover.files.entry import Entry, Kind
from datamover.mover.count import Counts
from datamover.mover.depot import LocalDepot
from datamover.mover.depot_service import DepotService
from datamover.mover.remote_depot import RemoteDepot
from datamover.mover.store import Store, create_store
from datamover.testing.chunks import (
    backup_without_a_pipe,
    make_blocks,
    make_label,
    write_chunks,
)
from datamover.wire.tag import TagHeader

TABLES = [[Entry(b"a%d" % n, Kind.FILE, 0o100644)] for n in range(7)]


class Wire:
    """Carries calls as bytes, as a conversation does."""

    def __init__(self, service):
        self.methods = service.methods()

    def call(self, method, given):
        return _over(self.methods[method](_over(given)))

    def stream(self, method, given):
        yield from (_over(one) for one in self.methods[method](_over(given)))
        yield {}


def _over(values):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(values))


@pytest.fixture
def service():
    asked = []

    def permit(action, path):
        asked.append((action, str(path)))
        return path

    service = DepotService(permit)
    service.asked = asked
    yield service
    service.close()


@pytest.fixture
def remote(service, stored):
    return RemoteDepot(Wire(service), machine="vault", directory=str(stored.path))


@pytest.fixture
def stored(tmp_path):
    create_store(tmp_path / os.fsdecode(b"s\xff"), passphrase=None, cipher="none")
    with Store.open(tmp_path / os.fsdecode(b"s\xff")) as opened:
        yield opened


def test_what_is_read_is_what_lies_there(stored, remote):
    archive = backup_without_a_pipe(stored, TABLES)
    here = LocalDepot(stored.path)

    assert remote.description == here.description
    assert remote.archives() == here.archives()
    assert remote.archives(ArchiveState.INCOMPLETE) == []
    assert remote.chunks(archive.id) == here.chunks(archive.id)
    assert list(remote.pages(archive.id)) == list(here.pages(archive.id))
    assert list(remote.pages(archive.id, PageKind.INDEX)) == list(
        here.pages(archive.id, PageKind.INDEX)
    )
    assert remote.transforms(remote.chunks(archive.id)) == here.transforms(here.chunks(archive.id))
    assert remote.room() > 0
    assert remote.place == f"vault:{stored.path}"
    here.close()


def test_an_archive_is_begun_entered_and_finished_from_afar(stored, remote):
    archive = stored.new_archive(make_label())
    with remote.writing(archive.record()):
        for name in write_chunks(stored, archive, make_blocks(TABLES)):
            remote.enter(name)
        facts = remote.finish(Counts(files=3))

    (record,) = stored.depot.archives(ArchiveState.COMPLETE)
    assert (record.id, record.facts) == (archive.id, facts)
    assert facts.files == 3
    assert list(stored.active.iterdir()) == []


def test_what_fails_half_way_is_discarded_there(stored, remote):
    archive = stored.new_archive(make_label())
    first = write_chunks(stored, archive, make_blocks(TABLES))[0]
    with pytest.raises(ZeroDivisionError), remote.writing(archive.record()):
        raise ZeroDivisionError(remote.enter(first))

    assert stored.depot.archives() == []
    assert list(stored.chunks.iterdir()) == []


def test_a_lost_conversation_leaves_nothing_unfinished(stored, service, remote):
    archive = stored.new_archive(make_label())
    writing = remote.writing(archive.record())
    writing.__enter__()
    for name in write_chunks(stored, archive, make_blocks(TABLES)):
        remote.enter(name)
    service.close()

    assert stored.depot.archives() == []
    assert list(stored.chunks.iterdir()) == []
    assert list(stored.active.iterdir()) == []


@pytest.fixture
def left(stored, remote):
    """An archive that may be resumed: two chunks are durable, and one of them has rows."""
    archive = stored.new_archive(make_label())
    names = write_chunks(stored, archive, make_blocks(TABLES))
    for name in names[2:]:
        (stored.chunks / name).unlink()
    with (
        pytest.raises(ZeroDivisionError),
        remote.writing(archive.record(), resumable=True),
    ):
        raise ZeroDivisionError(remote.enter(names[0]))
    return archive, names[:2]


@pytest.mark.parametrize("piece", [7, 1 << 19])
def test_an_unfinished_archive_is_gone_on_with_from_afar(monkeypatch, stored, remote, left, piece):
    monkeypatch.setattr("datamover.mover.depot_service._PIECE", piece)
    archive, names = left
    assert [path.name for path in stored.active.iterdir()] == [f"{archive.id.hex()}.resume"]
    with remote.resuming(archive.record(), 1) as attempt:
        chunks = remote.chunks(archive.id)
        far = list(remote.blocks(2))
        with pytest.raises(UsageError, match="writes an archive of that store already"):
            remote.writing(archive.record()).__enter__()
        remote.clean(lambda _: b"")
        with pytest.raises(ArchiveBusyError):
            remote.drop(archive.record())

    assert (attempt.number, attempt.is_whole) == (1, False)
    assert [one.name for one in chunks] == names
    assert len(far) == chunks[-1].first_block + chunks[-1].blocks - 2
    files = b"".join((stored.chunks / name).read_bytes() for name in names)
    assert all(record in files for record in far)
    assert [TagHeader.decode(memoryview(record)).block for record in far] == [2, 3, 4, 5]


def test_no_attempt_gets_a_number_that_was_given(remote, left):
    archive, _ = left

    def given_up(least):
        with remote.resuming(archive.record(), least) as attempt:
            raise ZeroDivisionError(attempt.number)

    numbers = []
    for least in (1, 1, 7, 2):
        with pytest.raises(ZeroDivisionError) as raised:
            given_up(least)
        numbers += raised.value.args
    assert numbers == [1, 2, 7, 8]


def test_only_what_may_be_resumed_is_resumed_or_dropped(stored, remote, left):
    archive, names = left
    complete = backup_without_a_pipe(stored, TABLES)
    unknown = stored.new_archive(make_label())
    other = replace(archive.record(), label=b"another")
    for record in (complete.record(), unknown.record(), other):
        with pytest.raises(ArchiveMissingError), remote.resuming(record, 1):
            pass
        assert remote.drop(record) is False
    assert {path.name for path in stored.chunks.iterdir()} > set(names)
    assert remote.drop(archive.record()) is True
    assert len(stored.depot.archives()) == 1
    assert list(stored.active.iterdir()) == []


def test_a_page_longer_than_a_message_comes_in_pieces(monkeypatch, stored, remote):
    monkeypatch.setattr("datamover.mover.depot_service._PIECE", 7)
    archive = backup_without_a_pipe(stored, TABLES)

    assert list(remote.pages(archive.id)) == list(stored.depot.pages(archive.id))


def test_the_folder_that_was_permitted_is_the_one_that_is_used(stored, tmp_path):
    (tmp_path / "link").symlink_to(stored.path)

    def permit(_, path):
        real = path.resolve()
        # Between the check and the use the link leads elsewhere.
        path.unlink()
        path.symlink_to("/etc")
        return real

    service = DepotService(permit)
    try:
        opened = service.methods()["depot.open"]({"folder": os.fsencode(tmp_path / "link")})
        assert opened["folder"] == os.fsencode(stored.path)
    finally:
        service.close()


def test_every_use_is_permitted_first(stored, service, remote):
    service.asked.clear()
    remote.archives()
    remote.clean(lambda _: b"")

    assert service.asked == [("read", str(stored.path)), ("append", str(stored.path))]


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("depot.open", {}),
        ("depot.open", {"folder": "text"}),
        ("depot.open", {"folder": b"/" + b"x" * 5000}),
        ("depot.chunks", {"folder": b"/x", "archive": b"short"}),
        ("depot.transforms", {"folder": b"/x", "names": ["../../etc/passwd"]}),
        ("depot.begin", {"folder": b"/x", "record": {"id": 3}}),
        ("depot.resume", {"folder": b"/x", "record": {}, "attempt": 1}),
        ("depot.blocks", {"folder": b"/x", "first": -1}),
        ("depot.blocks", {"folder": b"/x", "first": 1 << 63}),
    ],
)
def test_a_malformed_call_is_refused(service, method, given):
    with pytest.raises(MalformedError):
        service.methods()[method](given)


def test_a_chunk_cannot_be_entered_before_an_archive_was_begun(remote):
    with pytest.raises(UsageError, match="no archive was begun"):
        remote.enter("0" * 32 + "-000000.dmc")


def test_a_path_that_is_no_chunk_cannot_be_entered(stored, remote):
    archive = stored.new_archive(make_label())
    with (
        pytest.raises(MalformedError, match="not the name of a chunk"),
        remote.writing(archive.record()),
    ):
        remote.enter("../catalog.sqlite")


def test_the_rules_of_a_store_come_as_they_are_written(stored, remote, service):
    assert remote.rules() is None

    (stored.path / "placement.toml").write_text("[default]\ncodec = 'none' # é\n")

    assert remote.rules() == LocalDepot(stored.path).rules() == "[default]\ncodec = 'none' # é\n"
    assert service.asked[-1] == ("read", str(stored.path))


def test_rules_that_cannot_be_read_are_refused_here_and_there(stored, remote):
    os.mkfifo(stored.path / "placement.toml")

    for depot in (remote, LocalDepot(stored.path)):
        with pytest.raises(RuleError, match="not a file"):
            depot.rules()


@pytest.mark.parametrize("rules", [7, "x" * (64 * 1024 + 1)])
def test_rules_that_another_machine_makes_up_are_refused(service, stored, rules):
    wire = Wire(service)
    remote = RemoteDepot(wire, machine="vault", directory=str(stored.path))
    wire.methods["depot.rules"] = lambda _: {"rules": rules}

    with pytest.raises(MalformedError):
        remote.rules()
