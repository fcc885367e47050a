"""Another machine, or another process, as a partner in talk."""

from __future__ import annotations

from dataclasses import dataclass

from datamover.errors.base import DataMoverError

__all__ = [
    "DrainingError",
    "PeerError",
    "PeerLostError",
    "PeerProtocolError",
    "PeerRefusedError",
    "PeerUnreachableError",
    "RunningError",
    "SlowPeerError",
]


@dataclass(eq=False, kw_only=True)
class PeerError(DataMoverError):
    """Another machine, or another process of this one, does not do as it was asked.

    Attributes:
        peer: Who it is, as a person wrote it.
    """

    code = "peer"
    exit_status = 69
    peer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.peer}: {self.reason}"


class PeerUnreachableError(PeerError):
    """No conversation came about; nothing was done there."""

    code = "peer.unreachable"
    retryable = True
    hint = "see that the name is right, and that `datamover --version` works there"


@dataclass(eq=False, kw_only=True)
class PeerRefusedError(PeerError):
    """The peer said no.

    Attributes:
        reason: What it said.
        cause_code: ``code`` of the error at the peer.
    """

    code = "peer.refused"
    cause_code: str = ""
    cause_status: int = 70
    cause_hint: str = ""


class PeerLostError(PeerError):
    """The peer was there and is gone: what it ran for us is stopped, or will be."""

    code = "peer.lost"
    exit_status = 75
    retryable = True
    hint = "run the same command again"


class SlowPeerError(PeerError):
    """The peer took longer than it may; it was given up."""

    code = "peer.slow"
    retryable = True


class PeerProtocolError(PeerError):
    """What the peer said is not the protocol; the conversation was ended."""

    code = "peer.protocol"
    exit_status = 76
    hint = (
        "see that both machines have a release that knows the other's, and print nothing at login"
    )


class RunningError(PeerError):
    """Another monitor serves this user on this machine already; this one did nothing."""

    code = "peer.running"
    hint = "`datamover status` shows what it runs; end it before another is started"


class DrainingError(PeerError):
    """It takes no new pipes, for it is about to end; what runs may finish."""

    code = "peer.draining"
    exit_status = 75
    retryable = True
    hint = "run the same command again when it is back"
