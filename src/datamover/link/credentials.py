"""Credentials: the files that a member machine makes its connections with.

Whoever dials hands them to TLS as they are; only who must know what is in them reads certificates.

Source: docs/spec/trust.md, section 3; DESIGN D14.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datamover.errors import NotEnrolledError
from datamover.link.durable import read_file

__all__ = ["MOST", "Credentials", "credentials", "is_enrolled"]

MOST: Final = 4 * 1024 * 1024
"""Bytes that a file of an identity may have."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where key, certificate, and what is trusted, are.

    Attributes:
        folder: Of the identity.
    """

    folder: Path

    @property
    def chain_file(self) -> Path:
        """The file with key and certificate."""
        return self.folder / "identity.pem"

    @property
    def trust_file(self) -> Path:
        """The file with the authority's certificate and the revocation list."""
        return self.folder / "fleet.pem"

    def read(self) -> tuple[bytes, bytes]:
        """Return what is in the two files.

        Raises:
            NotEnrolledError: They are not there.
            UnsafeFileError: Others can read the key.
            OSError: A file cannot be read.
        """
        try:
            chain = read_file(self.chain_file, most=MOST, secret=True)
            trust = read_file(self.trust_file, most=MOST, secret=False)
        except (FileNotFoundError, NotADirectoryError):
            reason = "this machine is no member of a fleet"
            raise NotEnrolledError(folder=str(self.folder.parent), reason=reason) from None
        return chain, trust


def credentials(configuration: Path) -> Credentials:
    """Return those of this machine, whether there are any or not.

    Args:
        configuration: The configuration folder (``places.configuration_folder``).
    """
    return Credentials(configuration / "identity")


def is_enrolled(configuration: Path) -> bool:
    """Whether this machine is a member of a fleet."""
    return credentials(configuration).chain_file.exists()
