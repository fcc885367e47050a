"""A machine joins with a token, once; everything else that tries is refused, by name."""

import re
import stat
import threading

import pytest

from datamover.errors import (
    DistrustError,
    EnrolmentError,
    NameTakenError,
    PeerUnreachableError,
    SlowPeerError,
    TokenError,
    UsageError,
)
from datamover.link.authority import Authority
from datamover.link.certificates import ends_s, write_certificate
from datamover.link.credentials import is_enrolled
from datamover.link.founding import found, revoke
from datamover.link.identity import Identity
from datamover.link.join import join, refresh, renew

pytestmark = pytest.mark.timeout(60)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_machine_joins_and_its_secrets_are_its_own(authority, listening, tmp_path, log):
    with listening() as address:
        token = authority.invite(addresses=[address])
        identity = join(token, tmp_path / "m", name="laptop")

    assert identity.peer.name == "laptop"
    assert identity.peer.fleet == authority.fleet
    assert identity == Identity.load(tmp_path / "m")
    assert identity.home == (address,)
    assert mode(tmp_path / "m" / "identity" / "identity.pem") == 0o600
    assert not (tmp_path / "m" / "identity" / "pending.pem").exists()
    assert [m.name for m in authority.state().machines] == ["home", "laptop"]
    joined = next(line for line in log() if line.startswith("fleet.joined"))
    assert f"machine=laptop id={identity.peer.machine}" in joined


def test_the_token_and_its_secret_are_nowhere_on_disk_nor_in_the_log(
    authority, listening, tmp_path, log
):
    with listening() as address:
        token = authority.invite(addresses=[address])
        join(token, tmp_path / "m", name="laptop")

    kept = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    told = "".join(log()) + repr(token)
    for form in (token.secret, token.secret.hex().encode(), token.text().encode()):
        assert form not in kept
        assert form not in told.encode()


def test_the_name_is_that_of_the_host_when_nobody_says_another(authority, listening, tmp_path):
    with listening() as address:
        identity = join(authority.invite(), tmp_path / "m", host="Attic-7", addresses=[address])

    assert identity.peer.name == "attic-7"


def test_an_invitation_for_a_name_gives_it_and_no_other(authority, listening, tmp_path):
    with listening() as address:
        with pytest.raises(EnrolmentError, match="the invitation is for laptop"):
            join(
                authority.invite(name="laptop"), tmp_path / "a", name="server", addresses=[address]
            )
        identity = join(authority.invite(name="laptop"), tmp_path / "b", addresses=[address])

    assert identity.peer.name == "laptop"
    assert not is_enrolled(tmp_path / "a")


def test_a_token_is_good_once(authority, listening, tmp_path, log):
    token = authority.invite()
    with listening() as address:
        join(token, tmp_path / "a", name="a", addresses=[address])
        with pytest.raises(TokenError, match="used already"):
            join(token, tmp_path / "b", name="b", addresses=[address])

    assert [m.name for m in authority.state().machines] == ["home", "a"]
    assert any("code=security.token" in line and "used already" in line for line in log())


def test_of_many_that_redeem_at_once_one_succeeds(authority, listening, tmp_path):
    token, outcomes = authority.invite(), []

    def attempt(number):
        try:
            name = f"m{number}"
            outcomes.append(join(token, tmp_path / name, name=name, addresses=[address]).peer.name)
        except TokenError as error:
            outcomes.append(error)

    with listening() as address:
        threads = [threading.Thread(target=attempt, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    winners = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(outcomes) == 6
    assert len(winners) == 1
    assert [m.name for m in authority.state().machines] == ["home", *winners]


def test_a_join_whose_answer_was_lost_goes_on_with_the_same_token(
    authority, listening, tmp_path, monkeypatch
):
    token = authority.invite()
    with listening() as address:
        with monkeypatch.context() as patched:
            # The machine dies after the authority has answered, before anything is written.
            patched.setattr(Identity, "save", lambda *_, **__: exit_now())
            with pytest.raises(SystemExit):
                join(token, tmp_path / "m", name="m", addresses=[address])
        assert not is_enrolled(tmp_path / "m")
        identity = join(token, tmp_path / "m", name="m", addresses=[address])

    machine = authority.state().machines[-1]
    assert (machine.name, machine.id) == ("m", identity.peer.machine)
    assert len(machine.certificates) == 1


def exit_now():
    raise SystemExit


def test_a_token_ends(home, listening, tmp_path):
    past = Authority.open(home, clock=lambda: 1_000_000_000.0)
    token = past.invite(expires_s=60)

    with listening() as address, pytest.raises(TokenError, match="has ended"):
        join(token, tmp_path / "m", name="m", addresses=[address])


def test_a_name_that_is_taken_is_refused_and_the_invitation_stays_good(
    authority, listening, tmp_path
):
    token = authority.invite()
    with listening() as address:
        with pytest.raises(NameTakenError, match="named home already"):
            join(token, tmp_path / "m", name="home", addresses=[address])
        identity = join(token, tmp_path / "m", name="other", addresses=[address])

    assert identity.peer.name == "other"


def test_a_token_of_another_fleet_is_noticed_before_anything_is_told(
    listening, tmp_path, authority
):
    found(tmp_path / "else", "else")
    token = Authority.open(tmp_path / "else").invite()

    with listening() as address, pytest.raises(DistrustError, match="not of the fleet"):
        join(token, tmp_path / "m", name="m", addresses=[address])
    assert len(authority.state().machines) == 1


def test_a_forged_secret_is_refused_with_the_text_for_an_unknown_invitation(
    authority, listening, tmp_path
):
    from dataclasses import replace

    token = authority.invite()
    texts = set()
    with listening() as address:
        for forged in (replace(token, secret=bytes(16)), replace(token, invitation=bytes(8))):
            with pytest.raises(TokenError) as caught:
                join(forged, tmp_path / "m", name="m", addresses=[address])
            texts.add(str(caught.value))

    assert texts == {"no such invitation, or the proof does not fit"}


def test_a_member_does_not_join_again(authority, member):
    folder = member("laptop")

    with pytest.raises(EnrolmentError, match="a member already"):
        join(authority.invite(), folder, name="again")


def test_without_an_address_it_is_asked_for_one(authority, tmp_path):
    with pytest.raises(UsageError, match="no address"):
        join(authority.invite(), tmp_path / "m", name="m")


def test_an_address_where_nobody_answers_is_named_and_the_next_one_is_tried(
    authority, listening, tmp_path, unused
):
    with listening() as address:
        with pytest.raises(
            PeerUnreachableError, match=rf"{re.escape(str(unused))}: cannot be reached"
        ):
            join(authority.invite(), tmp_path / "m", name="m", addresses=[unused])
        identity = join(authority.invite(), tmp_path / "m", name="m", addresses=[unused, address])

    assert identity.peer.name == "m"


def test_a_server_that_says_nothing_costs_the_deadline_and_no_more(authority, tmp_path, silent):
    with pytest.raises(SlowPeerError, match="took too long"):
        join(authority.invite(), tmp_path / "m", name="m", addresses=[silent], deadline_s=0.2)


def test_renewal_brings_a_new_key_and_a_later_end(member, listening, log):
    folder = member("laptop")
    before = Identity.load(folder)
    chain = (folder / "identity" / "identity.pem").read_bytes()

    with listening() as address:
        after = renew(folder, addresses=[address])

    assert after.peer == before.peer
    assert after.certificate.public_key() != before.certificate.public_key()
    assert ends_s(after.certificate) >= ends_s(before.certificate)
    assert (folder / "identity" / "identity.pem").read_bytes() != chain
    assert any(line.startswith("fleet.renewed machine=laptop") for line in log())


def test_a_revoked_machine_cannot_renew_and_its_name_is_free(
    home, authority, member, listening, tmp_path
):
    folder = member("laptop")
    revoke(home, "laptop")

    with listening() as address:
        with pytest.raises(DistrustError, match="this machine was revoked"):
            renew(folder, addresses=[address])
        again = join(authority.invite(), tmp_path / "new", name="laptop", addresses=[address])
    assert again.peer.machine != Identity.load(folder).peer.machine


def test_the_answer_to_a_spent_invitation_of_a_revoked_machine_is_not_repeated(
    home, authority, listening, tmp_path, monkeypatch
):
    token = authority.invite()
    with listening() as address:
        with monkeypatch.context() as patched:
            patched.setattr(Identity, "save", lambda *_, **__: exit_now())
            with pytest.raises(SystemExit):
                join(token, tmp_path / "m", name="m", addresses=[address])
        revoke(home, "m")
        with pytest.raises(TokenError, match="used already"):
            join(token, tmp_path / "m", name="m", addresses=[address])


def test_members_learn_of_a_revocation_when_they_refresh(home, member, listening):
    friend = member("friend")
    member("thief")
    revoke(home, "thief")

    with listening() as address:
        assert refresh(friend, addresses=[address])
        assert not refresh(friend, addresses=[address])
    assert Identity.load(friend).list_number == 2


def test_whoever_has_the_authority_s_certificate_and_not_its_key_is_not_believed(
    authority, listening, tmp_path, home
):
    # In between sits somebody with a fleet of his own, who sends the certificate that the token
    # pins: it is public.
    fake = tmp_path / "fake"
    found(fake, "home")
    path = fake / "authority" / "authority.pem"
    key = path.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")[0]
    path.write_bytes(key + write_certificate(authority.certificate, pem=True))
    token = authority.invite()

    with (
        listening(fake) as address,
        pytest.raises(DistrustError, match="its certificate does not do"),
    ):
        join(token, tmp_path / "m", name="m", addresses=[address])
    assert not is_enrolled(tmp_path / "m")
    with listening(home) as address:
        assert join(token, tmp_path / "m", name="m", addresses=[address]).peer.name == "m"
