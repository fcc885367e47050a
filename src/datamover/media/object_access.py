"""How an object store is reached: its endpoint, its region, and the key that signs.

    AWS_ACCESS_KEY_ID  AWS_SECRET_ACCESS_KEY  [AWS_SESSION_TOKEN]     from the environment alone
    AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL     unless the address has an endpoint
    AWS_REGION, AWS_DEFAULT_REGION            unless the address has a region

Source: docs/spec/media-format.md, "Object stores"; ADR 0026.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from datamover.errors import MediumRefusedError, UsageError

if TYPE_CHECKING:
    from datamover.media.address import MediumAddress

__all__ = ["ObjectAccess"]

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Nothing that any server, or any signature, would spell in two ways.
_COMPONENT: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_DEFAULT_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAccess:
    """Where one bucket is, and who we are there.

    Attributes:
        bucket: Its name.
        prefix: What all keys begin with; empty, or without a slash at its ends.
        endpoint: URL of the server; empty for Amazon's own.
        region: As signatures name it.
        key: Access key.
        secret: Its secret.
        token: Session token; may be empty.
    """

    bucket: str
    prefix: str
    endpoint: str
    region: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, address: MediumAddress) -> Self:
        """Take what the address says, and the rest from the environment.

        Raises:
            UsageError: Bucket, prefix, endpoint or region cannot be one.
            MediumRefusedError: There is no key in the environment.
        """
        environment = os.environ
        endpoint = (
            address.options.get("endpoint")
            or environment.get("AWS_ENDPOINT_URL_S3")
            or environment.get("AWS_ENDPOINT_URL")
            or ""
        ).rstrip("/")
        region = (
            address.options.get("region")
            or environment.get("AWS_REGION")
            or environment.get("AWS_DEFAULT_REGION")
            or _DEFAULT_REGION
        )
        prefix = address.path.strip("/")
        _require(_BUCKET.fullmatch(address.host), "bucket", address.host)
        for component in prefix.split("/") if prefix else []:
            _require(_COMPONENT.fullmatch(component), "prefix", prefix)
        _require(_REGION.fullmatch(region), "region", region)
        _require(not endpoint or _is_url(endpoint), "endpoint", endpoint)
        key = environment.get("AWS_ACCESS_KEY_ID", "")
        secret = environment.get("AWS_SECRET_ACCESS_KEY", "")
        if not key or not secret:
            raise MediumRefusedError(
                where=f"s3://{address.host}/{prefix}", reason="no access key in the environment"
            )
        return cls(
            bucket=address.host,
            prefix=prefix,
            endpoint=endpoint,
            region=region,
            key=key,
            secret=secret,
            token=environment.get("AWS_SESSION_TOKEN", ""),
        )

    @property
    def where(self) -> str:
        """The medium's place, for messages."""
        at = f" at {self.endpoint}" if self.endpoint else ""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/") + at

    @property
    def base(self) -> str:
        """The URL that keys are appended to."""
        if self.endpoint:
            return f"{self.endpoint}/{self.bucket}"
        return f"https://{self.bucket}.s3.{self.region}.amazonaws.com"

    def object_key(self, *parts: str) -> str:
        """Return the key of an object below the prefix."""
        return "/".join([*([self.prefix] if self.prefix else []), *parts])


def _require(sound: object, what: str, value: str) -> None:
    if not sound:
        raise UsageError(reason=f"not the {what} of an object store: {value!r:.200}")


def _is_url(text: str) -> bool:
    try:
        found = urlsplit(text)
        found.port  # noqa: B018 - looking is what finds it wrong
    except ValueError:
        return False
    sound = found.scheme in {"http", "https"} and found.hostname
    return bool(sound) and not (found.path or found.query or found.fragment or "@" in found.netloc)
