"""Where a medium is: ``scheme://host/path?option=value``, in one line that can be written down.

    file:///mnt/big
    s3://bucket/prefix?endpoint=https://objects.example

An address names no user and no secret; those come from the environment.

Source: docs/spec/media-format.md, "Addresses"; ADR 0025; RFC 3986.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from datamover.errors import UsageError
from datamover.units import GIB, KIB, MIB, Bytes

__all__ = ["MediumAddress"]

_LONGEST: Final = 4096
_MOST_OPTIONS: Final = 16
_SIZE: Final = re.compile(r"(\d{1,15})(KiB|MiB|GiB)?")
_UNITS: Final = {None: 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumAddress:
    """An address, taken apart.

    Attributes:
        scheme: The kind of medium: "file", "s3", ...
        host: What stands before the path: a bucket, for instance; may be empty.
        path: As the system or the server knows it; empty, or begins with a slash.
        options: What stands behind the question mark.
    """

    scheme: str
    host: str = ""
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            UsageError: It is none, or holds a user or a password.
        """
        if len(text) > _LONGEST or "\0" in text:
            raise UsageError(reason="not the address of a medium: too long, or not text")
        try:
            found = urlsplit(text)
            pairs = parse_qsl(
                found.query,
                keep_blank_values=True,
                strict_parsing=bool(found.query),
                max_num_fields=_MOST_OPTIONS,
                errors="surrogateescape",
            )
        except ValueError as error:
            raise UsageError(reason=f"not the address of a medium: {error}") from None
        # Not repeated in the message: it may be a secret.
        if "@" in found.netloc:
            raise UsageError(
                reason="a medium's address holds no user and no key: they come from the environment"
            )
        if not found.scheme or not text.startswith(f"{text[: len(found.scheme)]}://"):
            raise UsageError(reason=f"not the address of a medium, as file:///mnt/big is: {text!r}")
        if found.fragment:
            raise UsageError(reason=f"a medium's address has no part behind a #: {text!r}")
        options = dict(pairs)
        if len(options) < len(pairs):
            raise UsageError(reason=f"an option stands in a medium's address twice: {text!r}")
        return cls(
            scheme=found.scheme,
            host=found.netloc,
            path=unquote(found.path, errors="surrogateescape"),
            options=options,
        )

    def require_options(self, *known: str) -> None:
        """Hold the options to those that this kind of medium has.

        Raises:
            UsageError: There is another.
        """
        for name in self.options:
            if name not in known:
                there = ", ".join(known) or "none"
                raise UsageError(
                    reason=f"a medium of {self.scheme} has no option {name!r}; there are: {there}"
                )

    def size(self, name: str, default: Bytes) -> Bytes:
        """Return an option that is a number of bytes, as "64MiB" or "65536".

        Raises:
            UsageError: It is none.
        """
        text = self.options.get(name)
        if text is None:
            return default
        match = _SIZE.fullmatch(text)
        if match is None:
            raise UsageError(reason=f"{name}: not a size, as 64MiB is: {text!r}")
        return Bytes(int(match[1]) * _UNITS[match[2]])

    def folder(self) -> str:
        """Return the path of a medium that is a folder of this machine.

        Raises:
            UsageError: There is a host, or the path is no absolute one.
        """
        if self.host or not self.path.startswith("/") or "\0" in self.path:
            raise UsageError(
                reason=f"{self.scheme}: three slashes and an absolute path, as "
                f"{self.scheme}:///mnt/big: {self.host + self.path!r}"
            )
        return self.path
