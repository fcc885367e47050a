"""The few requests that the library which moves the bytes has not, or has not for every server.

A server keeps the parts of a writer that died, unseen and paid for, until somebody takes them back:
the library cannot list them.  It deletes in bulk alone, which not every server answers rightly.

Source: Amazon S3, "ListMultipartUploads", "AbortMultipartUpload", "DeleteObject", "Signature
Version 4"; ADR 0026.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

from datamover.errors import MediumUnreachableError
from datamover.media.object_errors import object_error
from datamover.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.media.object_access import ObjectAccess

__all__ = ["ObjectRequests", "Upload"]

_TIMEOUT_S: Final = 60.0
_LONGEST_ANSWER: Final = 4 * MIB
_MOST_PAGES: Final = 1000
_NOTHING: Final = hashlib.sha256(b"").hexdigest()
_DONE: Final = frozenset({200, 204, 404})


@dataclass(frozen=True, slots=True)
class Upload:
    """One that was begun.

    Attributes:
        key: The object that it is to become.
        id: What the server calls it.
        age_s: Seconds since it was begun, by the server's own clock.
    """

    key: str
    id: str
    age_s: float


class ObjectRequests:
    """Requests to one bucket, each on a connection of its own."""

    def __init__(self, access: ObjectAccess) -> None:
        self._access = access
        self._base = urlsplit(access.base)

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Yield the unfinished uploads of keys that begin with ``prefix``.

        Raises:
            MediumRefusedError: The server does not let us.
            MediumUnreachableError: It does not answer.
            StoreError: What it answers makes no sense.
        """
        marks: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            now, answer = self._ask("GET", "", {"uploads": "", "prefix": prefix, **marks})
            page = self._parse(answer)
            for found in page.iter():
                if _plain(found.tag) == "Upload" and (upload := _upload(found, now)):
                    yield upload
            fields = {_plain(one.tag): one.text or "" for one in page}
            key = fields.get("NextKeyMarker", "")
            if fields.get("IsTruncated", "").lower() != "true" or not key:
                return
            marks = {"key-marker": key, "upload-id-marker": fields.get("NextUploadIdMarker", "")}

    def abort(self, upload: Upload) -> None:
        """Take one back; one that is gone already is none.

        Raises:
            MediumRefusedError: The server does not let us.
            MediumUnreachableError: It does not answer.
        """
        self._ask("DELETE", upload.key, {"uploadId": upload.id})

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed already.

        Raises:
            MediumRefusedError: The server does not let us.
            MediumUnreachableError: It does not answer.
        """
        self._ask("DELETE", key, {})

    def _ask(self, method: str, key: str, query: dict[str, str]) -> tuple[datetime, bytes]:
        """Send one request; return the server's time and its answer."""
        path = quote(f"{self._base.path}/{key}", safe="/-_.~")
        sorted_query = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        headers = self._signed(method, path, sorted_query)
        secure = self._base.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._base.hostname or "", self._base.port, timeout=_TIMEOUT_S)
        try:
            target = f"{path}?{sorted_query}" if query else path
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            body = response.read(_LONGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise MediumUnreachableError(
                where=self._access.where, reason=f"the server does not answer ({error})"
            ) from error
        finally:
            connection.close()
        text = body.decode(errors="replace")
        if response.status not in _DONE or "<Code>NoSuchBucket</Code>" in text:
            told = OSError(f"status code: {response.status} {text}")
            raise object_error(told, self._access.where)
        return _time_of(response.getheader("Date", "")), body

    def _signed(self, method: str, path: str, query: str) -> dict[str, str]:
        """Return the headers of a request without a body."""
        access, now = self._access, datetime.now(UTC)
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "host": self._base.netloc,
            "x-amz-content-sha256": _NOTHING,
            "x-amz-date": stamp,
        }
        if access.token:
            headers["x-amz-security-token"] = access.token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join([method, path, query, lines, names, _NOTHING])
        scope = f"{stamp[:8]}/{access.region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        key = f"AWS4{access.secret}".encode()
        for part in (stamp[:8], access.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={access.key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def _parse(self, answer: bytes) -> ET.Element:
        # The parser resolves nothing from outside; entities of the document's own are what is left.
        try:
            if b"<!DOCTYPE" in answer or b"<!ENTITY" in answer:
                raise ET.ParseError  # noqa: TRY301 - one answer for all that is no list
            return ET.fromstring(answer)  # noqa: S314 - as above
        except ET.ParseError:
            told = OSError("the list of uploads is no list")
            raise object_error(told, self._access.where) from None


def _upload(found: ET.Element, now: datetime) -> Upload | None:
    fields = {_plain(one.tag): one.text or "" for one in found}
    key, name = fields.get("Key", ""), fields.get("UploadId", "")
    try:
        begun = datetime.fromisoformat(fields.get("Initiated", ""))
        age = (now - begun).total_seconds()
    except (ValueError, TypeError):
        # Nobody knows how old it is: as good as new.
        age = 0.0
    return Upload(key, name, age) if key and name else None


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]


def _time_of(header: str) -> datetime:
    try:
        found = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
