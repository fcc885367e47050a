"""Say what an object store answers in our words.

The library behind it tells most of what happened in its messages alone: the HTTP status, and the
code in the server's answer.

Source: docs/spec/media-format.md, "Object stores"; RFC 9110; Amazon S3, "Error responses".
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from datamover.errors import (
    DataMoverError,
    MediumFullError,
    MediumRefusedError,
    MediumUnreachableError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["error_code", "is_not_honoured", "is_taken", "object_error", "refusals"]

_CODE: Final = re.compile(r"<Code>\s*([A-Za-z0-9]{1,60})\s*</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]{1,200})</Message>")
_STATUS: Final = re.compile(r"status code: (\d{3})")

_REFUSED: Final = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidBucketName": "no bucket can have that name",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret does not belong to the access key",
    "AccessDenied": "the access key may not do this",
    "AccountProblem": "the account is blocked",
    "AllAccessDisabled": "the bucket is closed",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is not known there",
    "InvalidObjectState": "the object is in an archive, and must be brought back there first",
    "RequestTimeTooSkewed": "the clocks of this machine and of the server are too far apart",
    "RequestExpired": "the clocks of this machine and of the server are too far apart",
    "AuthorizationHeaderMalformed": "the region is another, or the access key is none",
    "PermanentRedirect": "the bucket is in another region, or at another endpoint",
    "MethodNotAllowed": "the server does not do this",
}
_FULL: Final = frozenset(
    {"QuotaExceeded", "StorageFull", "XMinioStorageFull", "InsufficientStorage", "507"}
)
_REFUSED_STATUSES: Final = {"401": "access is denied", "403": "access is denied"}
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_NOT_HONOURED: Final = frozenset({"NotImplemented", "501"})
_BUSY: Final = frozenset(
    {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "500", "502", "503"}
)


@contextmanager
def refusals(where: str) -> Iterator[None]:
    """Turn what the library raises in this block into our errors."""
    try:
        yield
    except DataMoverError:
        raise
    except Exception as error:
        # Its errors have no common root but this: some are of the system's classes.
        raise object_error(error, where) from error


def error_code(error: Exception) -> str:
    """Return the server's code for what went wrong, or the HTTP status; empty for neither."""
    text = str(error)
    for pattern in (_CODE, _STATUS):
        if match := pattern.search(text):
            return match[1]
    return ""


def is_taken(error: Exception) -> bool:
    """Whether a conditional put failed because there is an object of that key."""
    return error_code(error) in _TAKEN


def is_not_honoured(error: Exception) -> bool:
    """Whether the server does not know the condition."""
    return error_code(error) in _NOT_HONOURED


def object_error(error: Exception, where: str) -> DataMoverError:
    """Return the error of ours that says what the library's says."""
    code, text = error_code(error), str(error)
    said = _MESSAGE.search(text)
    if code in _FULL:
        return MediumFullError(where=where)
    if reason := _REFUSED.get(code) or _REFUSED_STATUSES.get(code):
        return MediumRefusedError(where=where, reason=reason)
    if code in _BUSY:
        return MediumUnreachableError(
            where=where, reason=f"the server is in trouble or busy ({code})"
        )
    if not code and ("HTTP error" in text or "timed out" in text):
        return MediumUnreachableError(where=where, reason="the server does not answer")
    reason = f"{code}: {said[1]}" if code and said else code or " ".join(text.split())[:200]
    return StoreError(store=where, reason=reason or "refused")
