"""The authority gives each invitation once, to whom it was meant, and remembers."""

import os
import stat
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import (
    DistrustError,
    EnrolmentError,
    MalformedError,
    NameTakenError,
    NotEnrolledError,
    TokenError,
    UnsafeFileError,
    UsageError,
    VersionError,
)
from datamover.link.authority import Authority
from datamover.link.certificates import (
    make_key,
    make_request,
    read_certificate,
    read_list,
    read_peer,
    read_request,
    verify_issued,
)
from datamover.link.founding import found, renew_here, revoke
from datamover.link.identity import Identity
from datamover.link.peer import Peer
from datamover.link.permissions import Permissions
from datamover.link.proof import Statement, prove
from datamover.link.signer import make_authority

DAY = 86400


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def authority(tmp_path, clock):
    return Authority.create(tmp_path, clock=clock)


def application(token, key, **changed):
    statement = Statement(
        fleet=token.fleet,
        invitation=token.invitation,
        client_nonce=bytes(32),
        server_nonce=bytes(32),
        server_certificate=b"shown",
        request=make_request(key),
        name=changed.pop("name", "m"),
        host="host",
    )
    return statement, prove(token.secret, replace(statement, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"fleet": bytes(16)},
        {"client_nonce": bytes(31) + b"1"},
        {"server_nonce": bytes(31) + b"1"},
        {"server_certificate": b"that of a member in between"},
        {"request": make_request(make_key())},
        {"host": "other"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_proof_is_good_for_what_was_signed_alone(authority, changed):
    statement, proof = application(authority.invite(), make_key(), **changed)

    with pytest.raises(TokenError, match="the proof does not fit"):
        authority.redeem(statement, proof)


def test_what_the_authority_keeps_is_of_no_use_to_redeem(authority):
    token = authority.invite()
    (invitation,) = authority.state().invitations
    thief = replace(token, secret=invitation.verifier[:16])

    with pytest.raises(TokenError, match="the proof does not fit"):
        authority.redeem(*application(thief, make_key()))


def test_the_same_key_gets_the_same_certificate_and_another_gets_nothing(authority):
    token, key = authority.invite(), make_key()
    first = authority.redeem(*application(token, key))

    assert authority.redeem(*application(token, key)).certificate == first.certificate
    with pytest.raises(TokenError, match="used already"):
        authority.redeem(*application(token, make_key()))
    assert len(authority.state().machines) == 1


def test_an_invitation_is_good_until_its_end(authority, clock):
    early, late = authority.invite(expires_s=60), authority.invite(expires_s=60)
    clock.now += 59
    authority.redeem(*application(early, make_key()))
    clock.now += 1

    with pytest.raises(TokenError, match="has ended"):
        authority.redeem(*application(late, make_key(), name="n"))


def test_a_lost_answer_is_repeated_until_the_end_and_no_longer(authority, clock):
    token, key = authority.invite(expires_s=60), make_key()
    authority.redeem(*application(token, key))
    clock.now += 60

    with pytest.raises(TokenError, match="has ended"):
        authority.redeem(*application(token, key))


@pytest.mark.parametrize("expires_s", [0, -1, 31 * DAY])
def test_an_invitation_without_a_sensible_end_is_not_made(authority, expires_s):
    with pytest.raises(UsageError, match="1 s to 30 days"):
        authority.invite(expires_s=expires_s)
    assert authority.state().invitations == []


def test_old_invitations_and_certificates_are_forgotten_and_machines_are_not(authority, clock):
    authority.redeem(*application(authority.invite(), make_key()))
    clock.now += 91 * DAY
    authority.invite()
    state = authority.state()

    assert len(state.invitations) == 1
    assert [(m.name, m.certificates) for m in state.machines] == [("m", [])]


def test_a_taken_name_is_refused_when_inviting_and_when_joining(authority):
    token = authority.invite()
    authority.redeem(*application(authority.invite(), make_key()))

    with pytest.raises(NameTakenError, match="named m already"):
        authority.invite(name="m")
    with pytest.raises(NameTakenError, match="named m already"):
        authority.redeem(*application(token, make_key()))
    authority.redeem(*application(token, make_key(), name="n"))


@pytest.mark.parametrize("name", ["A", "a b", "-a", "a-", "a..b", ".", "ä", "a" * 64, "a/b", "*"])
def test_what_is_no_name_is_refused(authority, name):
    with pytest.raises(UsageError, match="not a machine's name"):
        authority.invite(name=name)
    with pytest.raises(EnrolmentError, match="not a machine's name"):
        authority.redeem(*application(authority.invite(), make_key(), name=name))


def test_a_certificate_says_what_the_specification_says(authority, clock):
    membership = authority.redeem(*application(authority.invite(), make_key()))
    certificate, signer = membership.certificate, authority.certificate

    def extension(of, kind):
        return of.extensions.get_extension_for_class(kind)

    assert certificate.not_valid_after_utc.timestamp() == int(clock.now) + 90 * DAY
    assert certificate.not_valid_before_utc.timestamp() == int(clock.now) - 300
    assert signer.not_valid_after_utc.timestamp() == int(clock.now) + 3650 * DAY
    assert extension(signer, x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert extension(certificate, x509.BasicConstraints).value.ca is False
    usage = extension(certificate, x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    names = extension(certificate, x509.SubjectAlternativeName).value
    machine = authority.state().machines[0].id
    assert names.get_values_for_type(x509.DNSName) == ["m"]
    uri = f"datamover:{authority.fleet}/{machine}"
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [uri]
    assert len(extension(certificate, x509.ExtendedKeyUsage).value) == 2


def test_no_certificate_outlives_its_authority(authority, clock):
    clock.now += 3640 * DAY
    membership = authority.redeem(*application(authority.invite(), make_key()))

    assert membership.certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_a_revocation_holds_every_certificate_that_has_not_run_out(authority, clock):
    membership = authority.redeem(*application(authority.invite(), make_key()))
    clock.now += 80 * DAY
    renewed = authority.renew(membership.peer, make_key().public_key())
    authority.revoke("m")
    number, revoked = read_list(
        authority.revoked().public_bytes(Encoding.DER), authority.certificate
    )

    assert number == 2
    serials = {membership.certificate.serial_number, renewed.certificate.serial_number}
    assert {entry.serial_number for entry in revoked} == serials
    clock.now += 20 * DAY
    authority.invite()
    assert {e.serial_number for e in authority.revoked()} == {renewed.certificate.serial_number}
    clock.now += 90 * DAY
    authority.invite()
    assert list(authority.revoked()) == []


def test_only_members_renew(authority):
    peer = authority.redeem(*application(authority.invite(), make_key())).peer

    key = make_key().public_key()
    for stranger in (
        replace(peer, name="other"),
        replace(peer, machine="0" * 32),
        replace(peer, fleet="0" * 32),
    ):
        with pytest.raises(DistrustError, match="is no member"):
            authority.renew(stranger, key)
    authority.revoke("m")
    with pytest.raises(DistrustError, match="is no member"):
        authority.renew(peer, key)


def test_a_member_that_renews_without_end_is_stopped(authority):
    peer = authority.redeem(*application(authority.invite(), make_key())).peer
    key = make_key().public_key()

    for _ in range(63):
        authority.renew(peer, key)
    with pytest.raises(EnrolmentError, match="too often"):
        authority.renew(peer, key)
    assert len(authority.state().machines[0].certificates) == 64


def test_what_an_invitation_grants_is_in_force_when_the_machine_has_joined(authority, tmp_path):
    token = authority.invite(allow=["extend", "store:append:/srv/store"])
    assert list(Permissions.load(tmp_path).of("m")) == []
    authority.redeem(*application(token, make_key()))
    (entry,) = Permissions.load(tmp_path).of("m")

    assert entry.extend
    assert (entry.store[0].at, entry.store[0].may) == ("/srv/store", "append")


def test_what_was_granted_to_a_revoked_machine_is_not_inherited_by_its_name(tmp_path, clock):
    found(tmp_path, "home", clock=clock)
    authority = Authority.open(tmp_path, clock=clock)
    authority.redeem(*application(authority.invite(allow=["extend"]), make_key()))
    revoke(tmp_path, "m", clock=clock)
    authority.redeem(*application(authority.invite(), make_key()))

    assert list(Permissions.load(tmp_path).of("m")) == []


@pytest.mark.parametrize("grant", ["all", "path:write:relative"])
def test_a_grant_that_makes_no_sense_makes_no_invitation(authority, grant):
    with pytest.raises(UsageError, match="not a grant"):
        authority.invite(allow=[grant])
    assert authority.state().invitations == []


def test_a_fleet_is_made_once(authority, tmp_path):
    with pytest.raises(UsageError, match="an authority here already"):
        Authority.create(tmp_path)
    assert Authority.open(tmp_path).certificate == authority.certificate


def test_founding_goes_on_where_it_was_cut_off(authority, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Identity, "save", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            found(tmp_path, "home")
    identity = found(tmp_path, "home")

    assert identity.peer.fleet == authority.fleet
    assert [m.name for m in authority.state().machines if not m.revoked_s] == ["home"]
    with pytest.raises(EnrolmentError, match="member of a fleet already"):
        found(tmp_path, "home")


def test_the_machine_of_the_authority_renews_by_itself_and_is_not_revoked(tmp_path):
    before = found(tmp_path, "home")
    after = renew_here(tmp_path)

    assert after.peer == before.peer
    assert after.certificate != before.certificate
    with pytest.raises(EnrolmentError, match="own machine"):
        revoke(tmp_path, "home")


def test_revoking_a_stranger_is_an_error(tmp_path):
    found(tmp_path, "home")

    with pytest.raises(UsageError, match="no machine of the fleet is named 'x'"):
        revoke(tmp_path, "x")


def test_keys_are_private_and_a_key_that_is_not_is_refused(tmp_path):
    Authority.create(tmp_path)
    folder = tmp_path / "authority"
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()}
    assert modes["authority.pem"] == modes["state.json"] == 0o600

    for name in ("authority.pem", "state.json"):
        (folder / name).chmod(0o640)
        with pytest.raises(UnsafeFileError, match=r"open to others \(mode 0640\)"):
            Authority.open(tmp_path).state()
        (folder / name).chmod(0o600)


def test_a_machine_without_an_authority_says_so(tmp_path):
    with pytest.raises(NotEnrolledError, match="authority is not on this machine"):
        Authority.open(tmp_path)
    with pytest.raises(NotEnrolledError, match="no member of a fleet"):
        Identity.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", MalformedError),
        ("[" * 100_000, MalformedError),
        ('{"format": "datamover authority", "version": 2}', VersionError),
        ('{"format": "other", "version": 1, "fleet": "%s"}' % ("0" * 32), MalformedError),
        ('{"format": "datamover authority", "version": 1, "fleet": "x"}', MalformedError),
    ],
    ids=["empty", "deep", "newer", "other", "fleet"],
)
def test_a_damaged_state_is_an_error_and_stays_as_it_is(authority, tmp_path, text, kind):
    path = tmp_path / "authority" / "state.json"
    path.write_text(text)

    with pytest.raises(kind):
        authority.invite()
    assert path.read_text() == text


def test_a_failed_write_leaves_the_old_state_and_nothing_aside(authority, tmp_path, monkeypatch):
    before = (tmp_path / "authority" / "state.json").read_bytes()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        authority.invite()
    assert (tmp_path / "authority" / "state.json").read_bytes() == before
    names = {p.name for p in (tmp_path / "authority").iterdir()}
    assert names == {"authority.pem", "state.json", "lock"}


def test_a_request_is_for_a_key_of_our_kind_that_signed_it():
    key = make_key()
    assert read_request(make_request(key)) == key.public_key()

    for odd in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        with pytest.raises(MalformedError, match="not ECDSA P-256"):
            read_request(
                x509.CertificateSigningRequestBuilder()
                .subject_name(x509.Name([]))
                .sign(odd, SHA256())
                .public_bytes(Encoding.DER)
            )


REQUEST = make_request(make_key())


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# Beside the signature stands how many of its last bits do not count: where these are zero anyway,
# another number there says the same.


@given(st.integers(0, len(REQUEST) * 8 - 1))
def test_a_flipped_bit_in_a_request_gives_nobody_another_key(bit):
    try:
        found = read_request(flipped(REQUEST, bit))
    except MalformedError:
        return
    assert found == read_request(REQUEST)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_request_and_no_certificate(data):
    for read in (read_request, read_certificate):
        with pytest.raises(MalformedError):
            read(data)


SIGNER = make_authority("0" * 32, now_s=1e9)
SERIAL = b"\xa0\x03\x02\x01\x02\x02"  # what stands before the length of a serial number
CERTIFICATE = SIGNER.sign(
    Peer(name="m", machine="1" * 32, fleet="0" * 32), make_key().public_key(), now_s=1e9
).public_bytes(Encoding.DER)
LIST = SIGNER.list([(5, 1e9)], number=7, now_s=1e9).public_bytes(Encoding.DER)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.integers(0, len(CERTIFICATE) * 8 - 1))
def test_a_flipped_bit_in_a_certificate_changes_nothing_that_is_believed(bit):
    try:
        found = read_certificate(flipped(CERTIFICATE, bit))
        verify_issued(found, by=SIGNER.certificate)
    except (MalformedError, DistrustError):
        return
    assert found.tbs_certificate_bytes == read_certificate(CERTIFICATE).tbs_certificate_bytes


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_serial_number_that_is_not_positive_is_no_certificate():
    data = bytearray(CERTIFICATE)
    data[CERTIFICATE.index(SERIAL) + len(SERIAL) + 1] |= 0x80

    with pytest.raises(MalformedError, match=r"not positive|cannot be read"):
        read_certificate(bytes(data))


@given(st.integers(0, len(LIST) * 8 - 1))
def test_a_flipped_bit_in_a_revocation_list_changes_nothing_that_is_believed(bit):
    try:
        number, found = read_list(flipped(LIST, bit), SIGNER.certificate)
    except MalformedError:
        return
    assert (number, [entry.serial_number for entry in found]) == (7, [5])


def test_a_peer_is_what_its_certificate_says(authority):
    membership = authority.redeem(*application(authority.invite(), make_key()))

    machine = authority.state().machines[0].id
    assert membership.peer == Peer(name="m", machine=machine, fleet=authority.fleet)
    with pytest.raises(DistrustError):
        read_peer(authority.certificate)
