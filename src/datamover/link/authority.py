"""Authority: the key that makes machines members, and what it remembers.

    invite ──token──▶ (a person carries it) ──▶ redeem ──certificate──▶ renew … revoke

Every change is made under one lock and is durable before its fruit is handed out, so whatever is
killed, an invitation makes one member and no more.

Source: docs/spec/trust.md, sections 2 to 6; DESIGN D14; docs/decisions/0013-own-authority.md.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final, Self

from cryptography import x509

from datamover.errors import (
    DistrustError,
    EnrolmentError,
    MalformedError,
    NameTakenError,
    NotEnrolledError,
    TokenError,
    UsageError,
)
from datamover.link.authority_state import (
    Certified,
    Invitation,
    Machine,
    State,
    changing,
    read_state,
    write_state,
)
from datamover.link.certificates import (
    ends_s,
    fingerprint,
    key_digest,
    read_certificate,
    read_key,
    read_request,
    write_certificate,
    write_key,
)
from datamover.link.durable import PRIVATE, make_folder, read_file, replace_file
from datamover.link.events import tell
from datamover.link.identity import Membership
from datamover.link.peer import Peer, check_name
from datamover.link.permissions import forget_grants, keep_grants, parse_grant
from datamover.link.proof import is_proved, verifier_of
from datamover.link.signer import Signer, make_authority
from datamover.link.token import FLEET_SIZE, INVITATION_SIZE, SECRET_SIZE, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

    from datamover.link.address import Address
    from datamover.link.proof import Statement

__all__ = ["Authority"]

_MOST: Final = 1024 * 1024
_EXPIRES_MOST_S: Final = 30 * 86400
_KEEP_ENDED_S: Final = 7 * 86400
_INVITATIONS: Final = 10_000
_LIVE_MOST: Final = 64
_NOBODY: Final = "no such invitation, or the proof does not fit"


class Authority:
    """The authority of a fleet, on the machine where it lies.

    Processes may use one authority at the same time; each call is a transaction.

    Args:
        configuration: The configuration folder.
        signer: What signs.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, configuration: Path, signer: Signer, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._configuration = configuration
        self._folder = configuration / "authority"
        self._signer = signer
        self._clock = clock

    @classmethod
    def create(cls, configuration: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Make a fleet.

        Raises:
            UsageError: There is an authority here already; nothing was changed.
            OSError: The system refuses.
        """
        folder = configuration / "authority"
        if (folder / "authority.pem").exists():
            raise UsageError(reason=f"{configuration}: there is an authority here already")
        make_folder(folder)
        fleet = secrets.token_hex(FLEET_SIZE)
        signer = make_authority(fleet, now_s=clock())
        write_state(folder, State(fleet=fleet))
        pem = write_key(signer.key) + write_certificate(signer.certificate, pem=True)
        # Last: where this file is, there is an authority.
        replace_file(folder / "authority.pem", pem, mode=PRIVATE)
        return cls(configuration, signer, clock=clock)

    @classmethod
    def open(cls, configuration: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Open the authority of this machine.

        Raises:
            NotEnrolledError: It is not on this machine.
            UnsafeFileError: Others can read its key.
            MalformedError: A file is damaged.
            OSError: A file cannot be read.
        """
        path = configuration / "authority" / "authority.pem"
        try:
            pem = read_file(path, most=_MOST, secret=True)
        except (FileNotFoundError, NotADirectoryError):
            reason = "the fleet's authority is not on this machine"
            raise NotEnrolledError(folder=str(configuration), reason=reason) from None
        try:
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError:
            raise MalformedError(what=str(path), reason="cannot be read") from None
        return cls(configuration, Signer(certificate, read_key(pem)), clock=clock)

    @property
    def fleet(self) -> str:
        """The fleet's id."""
        return self._signer.fleet

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's certificate."""
        return self._signer.certificate

    def state(self) -> State:
        """Return what is known now, to be looked at.

        Raises:
            MalformedError: The state is damaged.
            OSError: It cannot be read.
        """
        return read_state(self._folder)

    def invite(
        self,
        *,
        name: str = "",
        expires_s: int = 3600,
        addresses: Sequence[Address] = (),
        allow: Sequence[str] = (),
    ) -> Token:
        """Make an invitation and return its token; the secret is in it and nowhere else.

        Args:
            name: The only machine it is for; empty for any.
            expires_s: How long it is good, in seconds.
            addresses: Where this authority answers.
            allow: What the machine may do here (``permissions.parse_grant``).

        Raises:
            UsageError: A value makes no sense.
            NameTakenError: A member has the name.
            OSError: The system refuses; there is no invitation.
        """
        if name:
            check_name(name)
        if not 0 < expires_s <= _EXPIRES_MOST_S:
            raise UsageError(reason=f"an invitation is good for 1 s to 30 days, not {expires_s} s")
        for grant in allow:
            parse_grant(grant)
        secret, fleet = secrets.token_bytes(SECRET_SIZE), bytes.fromhex(self.fleet)
        token = Token(
            invitation=secrets.token_bytes(INVITATION_SIZE),
            fleet=fleet,
            fingerprint=fingerprint(self.certificate),
            secret=secret,
            addresses=tuple(addresses),
        )
        invitation = Invitation(
            id=token.invitation.hex(),
            verifier=verifier_of(secret, fleet=fleet),
            name=name,
            made_s=int(self._clock()),
            ends_s=int(self._clock()) + expires_s,
            allow=list(allow),
        )
        with changing(self._folder) as state:
            self._tidy(state)
            if name and state.member(name):
                raise NameTakenError(reason=f"a member of the fleet is named {name} already")
            if len(state.invitations) >= _INVITATIONS:
                raise EnrolmentError(reason=f"there are {_INVITATIONS} invitations already")
            state.invitations.append(invitation)
        tell("fleet.invited", invitation=invitation.id, name=name, ends_s=invitation.ends_s)
        return token

    def redeem(self, statement: Statement, proof: bytes) -> Membership:
        """Turn an invitation into a membership, once.

        The same invitation and key get the same certificate again, for an answer may be lost.

        Args:
            statement: What the machine says.
            proof: That it has the token.

        Raises:
            TokenError: No such invitation, not proved, used, or at its end.
            NameTakenError: A member has the name; the invitation stays good.
            EnrolmentError: The invitation is for another name, or this is no name.
            MalformedError: The request cannot be read.
            OSError: The system refuses; the invitation is either still good or used.
        """
        key = read_request(statement.request)
        with changing(self._folder) as state:
            invitation = state.invitation(statement.invitation.hex())
            if invitation is None or not is_proved(proof, statement, verifier=invitation.verifier):
                raise TokenError(reason=_NOBODY)
            if invitation.used_s:
                certificate = self._again(state, invitation, key)
            else:
                certificate = self._admit_invited(state, invitation, statement, key)
            self._tidy(state)
        return self._membership(state, certificate)

    def admit(self, name: str, key: ec.EllipticCurvePublicKey) -> Membership:
        """Make this machine itself a member, without an invitation.

        A member of that name is replaced: it is an earlier try of the same command.

        Raises:
            UsageError: It is no name.
            OSError: The system refuses.
        """
        check_name(name)
        with changing(self._folder) as state:
            before = state.member(name)
            if before is not None:
                self._shut_out(state, before)
            certificate = self._admit(state, name, key)
        return self._membership(state, certificate)

    def renew(self, peer: Peer, key: ec.EllipticCurvePublicKey) -> Membership:
        """Give a member a new certificate, for a new key.

        Args:
            peer: Who asks, as its verified certificate says.
            key: Its new key.

        Raises:
            DistrustError: It is no member any more.
            EnrolmentError: It has too many certificates that have not run out.
            OSError: The system refuses.
        """
        with changing(self._folder) as state:
            machine = state.member(peer.name)
            if machine is None or machine.id != peer.machine or peer.fleet != self.fleet:
                raise DistrustError(peer=peer.name, reason="is no member of this fleet")
            self._tidy(state)
            if len(machine.certificates) >= _LIVE_MOST:
                raise EnrolmentError(reason=f"{peer.name} renews too often")
            certificate = self._sign(machine, key)
        return self._membership(state, certificate)

    def revoke(self, name: str) -> Machine:
        """Shut a machine out, and free its name.

        Raises:
            UsageError: No member has the name.
            OSError: The system refuses.
        """
        with changing(self._folder) as state:
            machine = state.member(name)
            if machine is None:
                raise UsageError(reason=f"no machine of the fleet is named {name!r}")
            self._shut_out(state, machine)
        forget_grants(self._configuration, name)
        tell("fleet.revoked", machine=name, id=machine.id)
        return machine

    def revoked(self) -> x509.CertificateRevocationList:
        """Return the revocation list of now.

        Raises:
            MalformedError: The state is damaged.
            OSError: It cannot be read.
        """
        return self._list(self.state())

    def _admit_invited(
        self,
        state: State,
        invitation: Invitation,
        statement: Statement,
        key: ec.EllipticCurvePublicKey,
    ) -> x509.Certificate:
        if self._clock() >= invitation.ends_s:
            raise TokenError(reason="the invitation has ended")
        name = _wanted(invitation, statement)
        if state.member(name):
            raise NameTakenError(reason=f"a member of the fleet is named {name} already")
        certificate = self._admit(state, name, key)
        # Before the state is written: a grant to nobody is harmless, a member without is not.
        keep_grants(self._configuration, name, invitation.allow)
        invitation.used_s = int(self._clock())
        invitation.machine = state.machines[-1].id
        invitation.key = key_digest(key)
        invitation.certificate = write_certificate(certificate, pem=False)
        return certificate

    def _again(
        self, state: State, invitation: Invitation, key: ec.EllipticCurvePublicKey
    ) -> x509.Certificate:
        machine = next((m for m in state.machines if m.id == invitation.machine), None)
        same = secrets.compare_digest(invitation.key, key_digest(key))
        if not same or machine is None or machine.revoked_s:
            raise TokenError(reason="the invitation was used already")
        if self._clock() >= invitation.ends_s:
            raise TokenError(reason="the invitation has ended")
        return read_certificate(invitation.certificate)

    def _admit(self, state: State, name: str, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        machine = Machine(
            name=name,
            id=secrets.token_hex(FLEET_SIZE),
            joined_s=int(self._clock()),
            certificates=[],
        )
        certificate = self._sign(machine, key)
        state.machines.append(machine)
        return certificate

    def _sign(self, machine: Machine, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        peer = Peer(name=machine.name, machine=machine.id, fleet=self.fleet)
        certificate = self._signer.sign(peer, key, now_s=self._clock())
        machine.certificates.append(
            Certified(serial=f"{certificate.serial_number:x}", ends_s=ends_s(certificate))
        )
        return certificate

    def _shut_out(self, state: State, machine: Machine) -> None:
        machine.revoked_s = int(self._clock())
        state.list_number += 1

    def _tidy(self, state: State) -> None:
        now_s = self._clock()
        for machine in state.machines:
            machine.certificates = [c for c in machine.certificates if c.ends_s > now_s]
        state.machines = [m for m in state.machines if m.certificates or not m.revoked_s]
        state.invitations = [i for i in state.invitations if i.ends_s + _KEEP_ENDED_S > now_s]

    def _list(self, state: State) -> x509.CertificateRevocationList:
        serials = [
            (int(c.serial, 16), float(m.revoked_s))
            for m in state.machines
            if m.revoked_s
            for c in m.certificates
        ]
        return self._signer.list(serials, number=state.list_number, now_s=self._clock())

    def _membership(self, state: State, certificate: x509.Certificate) -> Membership:
        return Membership(certificate, self.certificate, self._list(state))


def _wanted(invitation: Invitation, statement: Statement) -> str:
    if invitation.name:
        if statement.name not in ("", invitation.name):
            raise EnrolmentError(reason=f"the invitation is for {invitation.name}")
        return invitation.name
    try:
        return check_name(statement.name or statement.host)
    except UsageError as error:
        raise EnrolmentError(reason=str(error)) from None
