"""Over real TLS: members know each other; everything else at the port is refused and logged."""

import asyncio
import socket
import ssl
import time
from contextlib import suppress

import pytest

from datamover.errors import (
    DataMoverError,
    DistrustError,
    PeerLostError,
    PeerProtocolError,
    SlowPeerError,
)
from datamover.link.authority import Authority
from datamover.link.certificates import make_key
from datamover.link.fleet_messages import BODY_MOST, Greet, Inbox, Refused, encode
from datamover.link.founding import found, revoke
from datamover.link.identity import Identity
from datamover.link.join import refresh
from datamover.link.tls import (
    CONTROL,
    FLEET,
    client_context,
    link_error,
    peer_of,
    unverified_context,
)

pytestmark = pytest.mark.timeout(60)

WAIT_S = 10
GREET = encode(Greet(nonce=bytes(32)))


def talk(address, context, data=b""):
    """Connect, say something, and return all that is answered; errors as a program has them."""
    try:
        with (
            socket.create_connection((address.host, address.port), WAIT_S) as plain,
            context.wrap_socket(plain) as wrapped,
        ):
            wrapped.sendall(data)
            answer = b""
            while piece := wrapped.recv(4096):
                answer += piece
            return answer
    except OSError as error:
        raise link_error(error, "the server") from error


def anonymous(protocol):
    context = unverified_context()
    context.set_alpn_protocols([protocol] if protocol else [])
    return context


def wait_for(line, log):
    deadline = time.monotonic() + WAIT_S
    while not any(line in told for told in log()):
        assert time.monotonic() < deadline, f"never logged: {line}; {log()}"
        time.sleep(0.005)


@pytest.fixture
def welcome(member):
    """Check that a member is served, whatever others do at the same port."""
    folder = member("friend")

    def welcome(address):
        context = client_context(Identity.load(folder), "home")
        assert talk(address, context) == b"welcome friend"

    return welcome


@pytest.fixture
def old(home):
    """Write the identity of a member whose certificate has ended."""

    def old(folder, name):
        past = Authority.open(home, clock=lambda: time.time() - 200 * 86400)
        key = make_key()
        return Identity.save(folder, key, past.admit(name, key.public_key()), home=())

    return old


def test_members_know_each_other_by_their_certificates(member, home, listening):
    folder = member("laptop")
    context = client_context(Identity.load(folder), "home")

    with (
        listening() as address,
        socket.create_connection((address.host, address.port), WAIT_S) as plain,
        context.wrap_socket(plain, server_hostname="what the caller gives is not asked") as wrapped,
    ):
        assert wrapped.recv(100) == b"welcome laptop"
        assert wrapped.version() == "TLSv1.3"
        assert peer_of(wrapped) == Identity.load(home).peer


def test_a_client_may_be_asyncio(member, listening):
    folder = member("laptop")

    async def run(address):
        context = client_context(Identity.load(folder), "home")
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
        told = await reader.read()
        peer = peer_of(writer.get_extra_info("ssl_object"))
        writer.close()
        await writer.wait_closed()
        return told, peer.name

    with listening() as address:
        assert asyncio.run(run(address)) == (b"welcome laptop", "home")


def test_no_session_is_kept_to_be_resumed(member, listening):
    context = client_context(Identity.load(member("laptop")), "home")

    with (
        listening() as address,
        socket.create_connection((address.host, address.port), WAIT_S) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        while wrapped.recv(100):
            pass
        assert wrapped.session is None or not wrapped.session.has_ticket


def test_another_machine_than_the_expected_one_is_refused(member, listening):
    context = client_context(Identity.load(member("laptop")), "vault")

    with listening() as address, pytest.raises(DistrustError, match="mismatch"):
        talk(address, context)


def test_a_member_of_another_fleet_is_refused_on_both_sides(listening, tmp_path, log, welcome):
    found(tmp_path / "else", "home")
    stranger = Identity.load(tmp_path / "else")

    with listening() as address:
        with pytest.raises(DistrustError, match="its certificate does not do"):
            talk(address, client_context(stranger, "home"))
        careless = client_context(stranger, "home")
        careless.check_hostname = False
        careless.verify_mode = ssl.CERT_NONE
        with pytest.raises(DistrustError, match="does not know our fleet"):
            talk(address, careless)
        welcome(address)
    wait_for("code=security.distrust", log)


def test_an_ended_certificate_is_refused_by_name_on_both_sides(
    home, listening, tmp_path, log, old, welcome
):
    ended = old(tmp_path / "m", "m")
    with listening() as address:
        with pytest.raises(DistrustError, match="our certificate has ended"):
            talk(address, client_context(ended, "home"))
        welcome(address)
    wait_for("certificate has expired", log)

    old(tmp_path / "server", "server")
    with (
        listening(tmp_path / "server") as address,
        pytest.raises(DistrustError, match="certificate has expired"),
    ):
        talk(address, client_context(Identity.load(home), "server"))


def test_a_revoked_machine_is_refused_by_name_at_once(home, member, listening, log, welcome):
    folder = member("thief")
    with listening() as address:
        assert talk(address, client_context(Identity.load(folder), "home")) == b"welcome thief"
        revoke(home, "thief")
        with pytest.raises(DistrustError, match="this machine was revoked"):
            talk(address, client_context(Identity.load(folder), "home"))
        welcome(address)
    wait_for("certificate revoked", log)


def test_a_revoked_server_is_refused_by_those_who_know(home, member, listening):
    friend, thief = member("friend"), member("thief")
    revoke(home, "thief")
    with listening(thief) as address:
        assert talk(address, client_context(Identity.load(friend), "thief")) == b"welcome friend"
        with listening() as authority:
            refresh(friend, addresses=[authority])
        with pytest.raises(DistrustError, match="certificate revoked"):
            talk(address, client_context(Identity.load(friend), "thief"))


def test_a_renewed_certificate_is_shown_without_a_restart(home, member, listening):
    from datamover.link.founding import renew_here

    context = client_context(Identity.load(member("laptop")), "home")

    def shown(address):
        with (
            socket.create_connection((address.host, address.port), WAIT_S) as plain,
            context.wrap_socket(plain) as wrapped,
        ):
            return wrapped.getpeercert()["serialNumber"]

    with listening() as address:
        before = shown(address)
        renew_here(home)
        assert shown(address) != before


@pytest.mark.parametrize(
    ("protocol", "code"),
    [(CONTROL, "security.distrust"), ("h2", "peer.protocol"), ("", "peer.protocol")],
)
def test_a_client_without_a_certificate_gets_no_further_than_the_door(
    protocol, code, listening, log, welcome
):
    with listening() as address:
        with suppress(PeerLostError):  # or closed in good order; told nothing in any case
            assert talk(address, anonymous(protocol), b"hello") == b""
        welcome(address)
    wait_for(f"code={code}", log)


def test_plain_text_at_the_port_is_refused(listening, log, welcome):
    with listening() as address:
        with socket.create_connection((address.host, address.port), WAIT_S) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n" * 40)
            end(plain)
        welcome(address)
    wait_for("code=peer.protocol", log)


def end(plain):
    """Read until the other side hangs up."""
    try:
        while plain.recv(4096):
            pass
    except ConnectionError:
        pass


def test_tls_1_2_is_refused(listening, welcome):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with listening() as address:
        with pytest.raises(PeerProtocolError, match=r"does not speak TLS 1\.3"):
            talk(address, context)
        welcome(address)


def test_a_client_that_never_finishes_its_handshake_is_dropped(listening, log, welcome):
    with (
        listening(handshake_s=0.3) as address,
        socket.create_connection((address.host, address.port), WAIT_S) as plain,
    ):
        plain.sendall(b"\x16\x03\x01")  # the first bytes of a handshake, and no more
        welcome(address)
        end(plain)
    wait_for("code=peer.slow", log)


def test_a_client_that_joins_byte_by_byte_is_dropped(listening, log, welcome):
    with (
        listening(exchange_s=0.4) as address,
        socket.create_connection((address.host, address.port), WAIT_S) as plain,
        anonymous(FLEET).wrap_socket(plain) as wrapped,
    ):
        wrapped.sendall(GREET[:1])
        welcome(address)
        wrapped.sendall(GREET[1:2])
        end(wrapped)
    wait_for("code=peer.slow", log)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"DMFL\x01\x03" + (BODY_MOST + 1).to_bytes(2, "little"), "format.malformed"),
        (b"DMFL\x01\x63\x00\x00", "format.malformed"),
        (b"DMFL\x02\x01\x00\x00", "format.version"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "format.magic"),
        (b"DMFL\x01\x01\x05\x00hello", "format.malformed"),
        (encode(Refused(code="x")), "security.enrolment"),
        (GREET + GREET, "security.enrolment"),
    ],
    ids=["oversize", "type", "version", "magic", "body", "server-only", "twice"],
)
def test_what_breaks_the_protocol_is_answered_with_its_own_error(
    data, code, listening, log, welcome
):
    with listening() as address:
        inbox = Inbox()
        answers = inbox.receive(talk(address, anonymous(FLEET), data))
        welcome(address)

    assert isinstance(answers[-1], Refused)
    assert answers[-1].code == code
    wait_for(f"code={code}", log)


def test_an_exchange_that_is_cut_off_is_logged(listening, log, welcome):
    with listening() as address:
        with (
            socket.create_connection((address.host, address.port), WAIT_S) as plain,
            anonymous(FLEET).wrap_socket(plain) as wrapped,
        ):
            wrapped.sendall(GREET[:20])
            wrapped.unwrap()
        welcome(address)
    wait_for("in the middle of a message", log)


def test_only_members_renew_and_refresh(listening):
    from datamover.link.fleet_messages import Refresh, Renew

    with listening() as address:
        for wish in (Renew(request=b""), Refresh()):
            (answer,) = Inbox().receive(talk(address, anonymous(FLEET), encode(wish)))
            assert answer.code == "security.distrust"


def test_whom_nobody_verified_is_nobody(listening):
    with (
        listening() as address,
        socket.create_connection((address.host, address.port), WAIT_S) as plain,
        anonymous(FLEET).wrap_socket(plain) as wrapped,
        pytest.raises(DistrustError, match="not verified"),
    ):
        peer_of(wrapped)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), SlowPeerError),
        (ConnectionResetError(104, "reset"), PeerLostError),
        (OSError(113, "No route to host"), PeerLostError),
        (ssl.SSLError(1, "odd"), PeerProtocolError),
    ],
)
def test_every_error_of_a_socket_has_a_name(error, kind):
    told = link_error(error, "vault:4747")

    assert isinstance(told, kind)
    assert isinstance(told, DataMoverError)
    assert str(told).startswith("vault:4747: ")
