"""The authority's own machine: its membership needs no invitation and no connection.

Source: docs/spec/trust.md, sections 3 and 4.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from datamover.errors import EnrolmentError, NotEnrolledError
from datamover.link.authority import Authority
from datamover.link.certificates import make_key, write_certificate
from datamover.link.credentials import is_enrolled
from datamover.link.identity import Identity
from datamover.link.peer import check_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from datamover.link.authority_state import Machine

__all__ = ["found", "renew_here", "revoke"]


def found(configuration: Path, name: str, *, clock: Callable[[], float] = time.time) -> Identity:
    """Make a fleet, with this machine as its authority and first member.

    When it is cut off the same call goes on.

    Args:
        configuration: The configuration folder.
        name: This machine's name.
        clock: Seconds since the epoch.

    Raises:
        EnrolmentError: This machine is a member of a fleet already.
        UsageError: ``name`` is none.
        OSError: The system refuses.
    """
    if is_enrolled(configuration):
        reason = f"{configuration}: this machine is a member of a fleet already"
        raise EnrolmentError(reason=reason)
    check_name(name)
    try:
        authority = Authority.open(configuration, clock=clock)
    except NotEnrolledError:
        authority = Authority.create(configuration, clock=clock)
    key = make_key()
    return Identity.save(configuration, key, authority.admit(name, key.public_key()), home=())


def renew_here(configuration: Path, *, clock: Callable[[], float] = time.time) -> Identity:
    """Give the authority's own machine a new certificate, even when the old one has ended.

    Raises:
        NotEnrolledError: The authority is not here, or this machine is no member.
        DistrustError: This machine was revoked.
        OSError: The identity cannot be written; the old one is as it was.
    """
    authority = Authority.open(configuration, clock=clock)
    identity = Identity.load(configuration)
    key = make_key()
    membership = authority.renew(identity.peer, key.public_key())
    return Identity.save(configuration, key, membership, home=identity.home)


def revoke(configuration: Path, name: str, *, clock: Callable[[], float] = time.time) -> Machine:
    """Shut a machine out; this machine knows at once, others when they refresh.

    Raises:
        NotEnrolledError: The authority is not here.
        EnrolmentError: It is this machine itself.
        UsageError: No member has the name.
        OSError: The system refuses.
    """
    authority = Authority.open(configuration, clock=clock)
    identity = Identity.load(configuration)
    if name == identity.peer.name:
        raise EnrolmentError(reason=f"{name} is the authority's own machine")
    machine = authority.revoke(name)
    identity.take_list(write_certificate(authority.revoked(), pem=False))
    return machine
