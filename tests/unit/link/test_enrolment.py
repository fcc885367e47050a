"""The two sides of joining, without a socket: each believes only what is proved to it."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from datamover.errors import (
    DistrustError,
    EnrolmentError,
    MalformedError,
    NameTakenError,
    PipeError,
    TokenError,
    UsageError,
)
from datamover.link.authority import Authority
from datamover.link.certificates import make_key, make_request, read_request
from datamover.link.enrolment import (
    Applicant,
    Application,
    Registrar,
    Renewal,
    fleet_answer,
    open_refusal,
    refusal,
)
from datamover.link.fleet_messages import Greeting, Inbox, Refresh, Refused, Renew, encode
from datamover.link.identity import Membership
from datamover.link.peer import Peer
from datamover.link.signer import make_authority

SHOWN = b"the server's certificate"


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path)


@pytest.fixture
def token(authority):
    return authority.invite()


@pytest.fixture
def registrar(authority):
    return Registrar(authority.certificate, SHOWN, peer=None)


def one(data):
    (message,) = Inbox().receive(data)
    return message


def greeted(applicant, registrar):
    (greeting,) = registrar.receive(applicant.greet())
    applicant.greeted(one(greeting))
    return applicant


def answer(authority, peer, key):
    """What the authority would send for this machine and key, whoever asked."""
    signer = authority._signer
    certificate = signer.sign(peer, key.public_key(), now_s=1.8e9)
    return one(fleet_answer(Membership(certificate, signer.certificate, authority.revoked())))


def test_a_machine_joins_without_a_socket(authority, token, registrar):
    key = make_key()
    applicant = greeted(Applicant(token, key, name="m"), registrar)
    (application,) = registrar.receive(applicant.apply(SHOWN))
    membership = authority.redeem(application.statement, application.proof)
    joined = applicant.admitted(one(fleet_answer(membership)))

    assert isinstance(application, Application)
    assert joined.certificate.public_key() == key.public_key()
    assert joined.peer.name == "m"
    assert joined.revoked == membership.revoked


def test_an_authority_that_only_calls_itself_the_same_is_noticed(authority, token):
    impostor = make_authority(authority.fleet, now_s=1.8e9)
    registrar = Registrar(impostor.certificate, SHOWN, peer=None)

    with pytest.raises(DistrustError, match="not of the fleet"):
        greeted(Applicant(token, make_key()), registrar)


def test_the_right_authority_of_another_fleet_s_name_is_noticed(authority, token):
    greeting = Greeting(
        nonce=bytes(32),
        fleet=bytes(16),
        authority=authority.certificate.public_bytes(Encoding.DER),
    )
    with pytest.raises(DistrustError, match="not of the fleet"):
        Applicant(token, make_key()).greeted(greeting)


def test_a_member_in_between_cannot_pass_a_proof_on(authority, token, registrar):
    applicant = greeted(Applicant(token, make_key(), name="m"), registrar)
    (application,) = registrar.receive(applicant.apply(b"the member's own certificate"))

    with pytest.raises(TokenError, match="the proof does not fit"):
        authority.redeem(application.statement, application.proof)


def test_a_proof_cannot_be_played_to_another_connection(authority, token, registrar):
    applicant = greeted(Applicant(token, make_key(), name="m"), registrar)
    said = applicant.apply(SHOWN)
    again = Registrar(authority.certificate, SHOWN, peer=None)
    list(again.receive(Applicant(token, make_key()).greet()))
    (application,) = again.receive(said)

    with pytest.raises(TokenError, match="the proof does not fit"):
        authority.redeem(application.statement, application.proof)


def test_a_certificate_for_another_key_or_fleet_or_authority_is_not_taken(
    authority, token, registrar
):
    key = make_key()
    applicant = greeted(Applicant(token, key), registrar)
    peer = Peer(name="m", machine="1" * 32, fleet=authority.fleet)

    with pytest.raises(DistrustError, match="for another key"):
        applicant.admitted(answer(authority, peer, make_key()))
    with pytest.raises(DistrustError, match="of another fleet"):
        applicant.admitted(answer(authority, replace(peer, fleet="2" * 32), key))
    impostor = make_authority(authority.fleet, now_s=1.8e9)
    forged = impostor.sign(peer, key.public_key(), now_s=1.8e9)
    membership = Membership(forged, authority.certificate, authority.revoked())
    with pytest.raises(DistrustError, match="of another authority"):
        applicant.admitted(one(fleet_answer(membership)))
    good = authority._signer.sign(peer, key.public_key(), now_s=1.8e9)
    membership = Membership(good, authority.certificate, impostor.list([], number=9, now_s=1.8e9))
    with pytest.raises(MalformedError, match="not signed by this fleet's authority"):
        applicant.admitted(one(fleet_answer(membership)))


def test_messages_out_of_turn_are_refused(token, registrar):
    applicant = Applicant(token, make_key())

    with pytest.raises(EnrolmentError, match="Enrol out of turn"):
        list(registrar.receive(applicant.apply(SHOWN)))
    with pytest.raises(EnrolmentError, match="Greeting out of turn"):
        list(registrar.receive(next(registrar.receive(applicant.greet()))))
    with pytest.raises(MalformedError, match="Refresh was not expected"):
        applicant.greeted(Refresh())
    with pytest.raises(UsageError, match="nobody was greeted"):
        applicant.admitted(Refresh())


def test_only_a_member_s_connection_asks_for_renewal(authority):
    peer, request = Peer(name="m", machine="1" * 32, fleet="2" * 32), make_request(make_key())
    wish = encode(Renew(request=request)) + encode(Refresh())

    known = Registrar(authority.certificate, SHOWN, peer=peer)
    assert list(known.receive(wish)) == [Renewal(peer, request), Refresh()]
    with pytest.raises(DistrustError, match="is no member"):
        list(Registrar(authority.certificate, SHOWN, peer=None).receive(wish))
    assert read_request(request)


def test_a_torn_message_is_known_to_be_torn(registrar, token):
    data = Applicant(token, make_key()).greet()
    assert not registrar.is_torn
    assert list(registrar.receive(data[:-1])) == []
    assert registrar.is_torn
    assert len(list(registrar.receive(data[-1:]))) == 1
    assert not registrar.is_torn


def test_a_refusal_is_told_as_the_error_that_it_is():
    told = open_refusal(one(refusal(NameTakenError(reason="taken"))))

    assert isinstance(told, NameTakenError)
    assert str(told) == "taken"


@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("pipe.stopped", {}),
        ("store.exists", {"store": "s", "reason": "r"}),
        ("security.token", {"reason": "r", "more": 1}),
        ("security.token", {}),
        ("no.such.code", {"reason": "r"}),
        ("security.token", {"reason": "r", "code": "pipe.stopped"}),
    ],
)
def test_a_server_chooses_among_a_few_errors_only(code, facts):
    told = open_refusal(Refused(code=code, facts=facts))

    assert isinstance(told, EnrolmentError)
    assert not isinstance(told, PipeError)


def test_secrets_are_in_no_repr(authority, token, registrar):
    applicant = greeted(Applicant(token, make_key(), name="m"), registrar)
    (application,) = registrar.receive(applicant.apply(SHOWN))

    assert repr(application.proof)[2:20] not in repr(application)
    assert "PrivateKey" not in repr(authority._signer)
