"""Identity: what a member machine has: its key and certificate, and whom it trusts.

    identity.pem    key and certificate in one file, so a renewal replaces both or none
    fleet.pem       the authority's certificate and the newest revocation list
    home.json       where the authority answers
    pending.pem     the key of a join that has not finished

Source: docs/spec/trust.md, section 3; DESIGN D14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509

from datamover.errors import MalformedError, UsageError
from datamover.link.address import Address
from datamover.link.certificates import (
    ends_s,
    make_key,
    read_key,
    read_list,
    read_peer,
    write_certificate,
    write_key,
)
from datamover.link.credentials import MOST, Credentials, credentials
from datamover.link.durable import (
    PRIVATE,
    PUBLIC,
    make_folder,
    read_file,
    remove_file,
    replace_file,
)
from datamover.link.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec


__all__ = ["Identity", "Membership", "pending_key"]

_ADDRESSES: Final = 16
_RENEW_AT: Final = 3
"""Renew when a third of the certificate's life is left."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What the authority gives to a machine.

    Attributes:
        certificate: The machine's.
        authority: The authority's own.
        revoked: Its revocation list.
    """

    certificate: x509.Certificate
    authority: x509.Certificate
    revoked: x509.CertificateRevocationList

    @property
    def peer(self) -> Peer:
        """The machine, as its certificate names it."""
        return read_peer(self.certificate)


class _Home(msgspec.Struct, frozen=True):
    addresses: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(Credentials):
    """A machine's membership, as it lies on its disk.

    Attributes:
        peer: The machine as others see it.
        certificate: Its certificate (public).
        authority: The authority's certificate.
        list_number: Number of the revocation list that is here.
        home: Where the authority answers.
    """

    peer: Peer
    certificate: x509.Certificate
    authority: x509.Certificate
    list_number: int
    home: tuple[Address, ...] = ()

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to renew."""
        end = ends_s(self.certificate)
        begin = int(self.certificate.not_valid_before_utc.timestamp())
        return now_s >= end - (end - begin) / _RENEW_AT

    @classmethod
    def load(cls, configuration: Path) -> Identity:
        """Read the identity of this machine.

        Args:
            configuration: The configuration folder (``places.configuration_folder``).

        Raises:
            NotEnrolledError: There is none.
            UnsafeFileError: Others can read the key.
            MalformedError: A file is damaged.
            OSError: A file cannot be read.
        """
        given = credentials(configuration)
        chain, trust = given.read()
        folder = given.folder
        read_key(chain)
        certificate, _ = _read(chain, what="identity.pem", with_list=False)
        authority, revoked = _read(trust, what="fleet.pem", with_list=True)
        return cls(
            folder=folder,
            peer=read_peer(certificate),
            certificate=certificate,
            authority=authority,
            list_number=read_list(revoked, authority)[0],
            home=_home(folder),
        )

    @classmethod
    def save(
        cls,
        configuration: Path,
        key: ec.EllipticCurvePrivateKey,
        membership: Membership,
        *,
        home: Iterable[Address],
    ) -> Identity:
        """Write an identity, new or renewed; durable when this returns.

        Raises:
            OSError: The system refuses; an older identity is as it was.
        """
        folder = credentials(configuration).folder
        make_folder(folder)
        told = msgspec.json.encode(_Home(addresses=[str(a) for a in home][:_ADDRESSES]))
        replace_file(folder / "home.json", told + b"\n", mode=PUBLIC)
        if not _has_newer_list(folder, membership):
            _save_trust(folder, membership.authority, membership.revoked)
        chain = write_key(key) + write_certificate(membership.certificate, pem=True)
        # Last: where this file is, the machine is a member.
        replace_file(folder / "identity.pem", chain, mode=PRIVATE)
        remove_file(folder / "pending.pem")
        return cls.load(configuration)

    def take_list(self, data: bytes) -> bool:
        """Keep a revocation list (DER) if it is newer than the one here; say whether it was.

        Raises:
            MalformedError: It is not of this fleet's authority.
            OSError: The system refuses.
        """
        number, revoked = read_list(data, self.authority)
        if number <= self.list_number:
            return False
        _save_trust(self.folder, self.authority, revoked)
        return True


def pending_key(configuration: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key to join with; made, and kept until the join has finished.

    A join whose answer was lost asks again with the same key, and the authority knows it.

    Raises:
        UnsafeFileError: Others can read it.
        MalformedError: It is damaged.
        OSError: The system refuses.
    """
    folder = credentials(configuration).folder
    path = folder / "pending.pem"
    try:
        return read_key(read_file(path, most=MOST, secret=True))
    except FileNotFoundError:
        make_folder(folder)
    key = make_key()
    replace_file(path, write_key(key), mode=PRIVATE)
    return key


def _read(pem: bytes, *, what: str, with_list: bool) -> tuple[x509.Certificate, bytes]:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        revoked = write_certificate(x509.load_pem_x509_crl(pem), pem=False) if with_list else b""
    except ValueError:
        raise MalformedError(what=what, reason="cannot be read") from None
    return certificate, revoked


def _has_newer_list(folder: Path, membership: Membership) -> bool:
    """Whether another process brought a newer list meanwhile, of the same authority."""
    try:
        trust = read_file(folder / "fleet.pem", most=MOST, secret=False)
        authority, revoked = _read(trust, what="fleet.pem", with_list=True)
        ours, _ = read_list(revoked, membership.authority)
    except (FileNotFoundError, MalformedError):
        return False  # none, damaged, or of a fleet that this machine has left
    given = write_certificate(membership.revoked, pem=False)
    return authority == membership.authority and ours > read_list(given, authority)[0]


def _save_trust(
    folder: Path, authority: x509.Certificate, revoked: x509.CertificateRevocationList
) -> None:
    pem = write_certificate(authority, pem=True) + write_certificate(revoked, pem=True)
    replace_file(folder / "fleet.pem", pem, mode=PUBLIC)


def _home(folder: Path) -> tuple[Address, ...]:
    try:
        data = read_file(folder / "home.json", most=MOST, secret=False)
        told = msgspec.json.decode(data, type=_Home)
        return tuple(Address.parse(text) for text in told.addresses[:_ADDRESSES])
    except FileNotFoundError:
        return ()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UsageError) as error:
        raise MalformedError(what="home.json", reason=str(error)) from None
