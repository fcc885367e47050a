"""Stay a member of the fleet: renew the certificate in time, and learn who was shut out.

Source: docs/spec/trust.md, sections 2 and 6; DESIGN D14.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

from cryptography import x509

from datamover.errors import DataMoverError
from datamover.link.credentials import is_enrolled
from datamover.link.events import tell, warn
from datamover.link.founding import renew_here
from datamover.link.identity import Identity
from datamover.link.join import refresh, renew

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["keep_membership", "revoked_serials"]

_EVERY_S: Final = 3600.0


def revoked_serials(configuration: Path) -> frozenset[int]:
    """Return the numbers of the certificates that hold no more, as far as this machine knows.

    Raises:
        NotEnrolledError: It is no member.
        DataMoverError: Its files are damaged.
        OSError: They cannot be read.
    """
    identity = Identity.load(configuration)
    found = x509.load_pem_x509_crl(identity.trust_file.read_bytes())
    return frozenset(one.serial_number for one in found)


async def keep_membership(
    configuration: Path, changed: Callable[[], None], *, every_s: float = _EVERY_S
) -> None:
    """Look every hour what is due; never raises for what does not work, for it may later.

    Args:
        configuration: Where this machine's identity is.
        changed: Called when the identity, or the list of who was shut out, is another.
        every_s: How often.
    """
    while True:
        # Not all machines at once.
        await asyncio.sleep(every_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        if not is_enrolled(configuration):
            continue
        try:
            if await asyncio.to_thread(_keep, configuration):
                changed()
        except (DataMoverError, OSError) as error:
            warn("membership.not-kept", reason=error)


def _keep(configuration: Path) -> bool:
    """Do what is due; return whether something has changed."""
    identity = Identity.load(configuration)
    if identity.is_due(time.time()):
        # Where the authority is here, nobody needs to be asked.
        (renew if identity.home else renew_here)(configuration)
        tell("membership.renewed", machine=identity.peer.name)
        return True
    if identity.home and refresh(configuration):
        tell("membership.refreshed", machine=identity.peer.name)
        return True
    return False
