"""An identity is whole or not there, and never goes back to an older list."""

import pytest

from datamover.errors import DistrustError, MalformedError, NotEnrolledError, UnsafeFileError
from datamover.link.address import Address
from datamover.link.authority import Authority
from datamover.link.certificates import ends_s, make_key, write_certificate
from datamover.link.credentials import is_enrolled
from datamover.link.founding import found
from datamover.link.identity import Identity, Membership, pending_key


@pytest.fixture
def identity(tmp_path):
    return found(tmp_path, "home")


def der(revoked):
    return write_certificate(revoked, pem=False)


def test_an_identity_comes_back_as_it_was_saved(tmp_path, identity):
    assert Identity.load(tmp_path) == identity
    assert identity.peer.name == "home"
    assert identity.list_number == 1


def test_a_key_that_others_can_read_is_refused(tmp_path, identity):
    identity.chain_file.chmod(0o644)

    with pytest.raises(UnsafeFileError, match=r"open to others \(mode 0644\)"):
        Identity.load(tmp_path)


def test_a_key_that_is_a_link_is_refused(tmp_path, identity):
    identity.chain_file.rename(tmp_path / "elsewhere")
    identity.chain_file.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        Identity.load(tmp_path)


@pytest.mark.parametrize("name", ["identity.pem", "fleet.pem", "home.json"])
@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\xff" * 100])
def test_a_damaged_file_is_an_error_that_shows_nothing_of_it(tmp_path, identity, name, content):
    path = identity.folder / name
    path.write_bytes(content)

    with pytest.raises((MalformedError, DistrustError)) as caught:
        Identity.load(tmp_path)
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize("name", ["identity.pem", "fleet.pem"])
def test_without_its_files_a_machine_is_no_member(tmp_path, identity, name):
    (identity.folder / name).unlink()

    with pytest.raises(NotEnrolledError):
        Identity.load(tmp_path)
    assert is_enrolled(tmp_path) == (name != "identity.pem")


def test_an_older_list_is_not_taken(tmp_path, identity):
    authority = Authority.open(tmp_path)
    old = authority.revoked()
    authority.admit("thief", make_key().public_key())
    authority.revoke("thief")

    assert identity.take_list(der(authority.revoked()))
    newer = Identity.load(tmp_path)
    assert newer.list_number == 2
    assert not newer.take_list(der(old))
    with pytest.raises(MalformedError, match="not signed by this fleet's authority"):
        newer.take_list(der(Authority.create(tmp_path / "other").revoked()))
    assert Identity.load(tmp_path).list_number == 2


def test_a_renewal_that_was_overtaken_does_not_bring_an_older_list_back(tmp_path, identity):
    authority, key = Authority.open(tmp_path), make_key()
    slow = authority.renew(identity.peer, key.public_key())
    authority.admit("thief", make_key().public_key())
    authority.revoke("thief")
    identity.take_list(der(authority.revoked()))
    renewed = Identity.save(tmp_path, key, slow, home=[Address("a")])

    assert renewed.list_number == 2
    assert renewed.certificate == slow.certificate
    assert renewed.home == (Address("a"),)


def test_another_fleet_s_list_does_not_stay(tmp_path, identity):
    authority = Authority.open(tmp_path)
    authority.admit("thief", make_key().public_key())
    authority.revoke("thief")
    identity.take_list(der(authority.revoked()))
    other, key = Authority.create(tmp_path / "other"), make_key()
    membership = other.admit("home", key.public_key())

    assert isinstance(membership, Membership)
    moved = Identity.save(tmp_path, key, membership, home=())
    assert (moved.peer.fleet, moved.list_number) == (other.fleet, 1)


def test_a_renewal_is_due_when_a_third_of_the_time_is_left(identity):
    end = ends_s(identity.certificate)

    assert not identity.is_due(end - 31 * 86400)
    assert identity.is_due(end - 29 * 86400)


def test_the_key_of_a_join_stays_until_it_has_finished(tmp_path):
    first = pending_key(tmp_path)

    assert pending_key(tmp_path).public_key() == first.public_key()
    authority = Authority.create(tmp_path)
    Identity.save(tmp_path, first, authority.admit("m", first.public_key()), home=())
    assert pending_key(tmp_path).public_key() != first.public_key()
