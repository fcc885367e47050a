"""One pipe is in trouble; the others are not."""

from __future__ import annotations

from dataclasses import dataclass

from datamover.errors.base import DataMoverError

__all__ = [
    "BufferTimeoutError",
    "ControllerError",
    "ForkServerError",
    "GuestError",
    "NoPipeError",
    "OwnershipError",
    "PipeError",
    "QuotaError",
    "RoleError",
    "RoomError",
    "SequenceError",
    "StageFailedError",
    "StopRequestedError",
]


class PipeError(DataMoverError):
    """One pipe is in trouble; the others are not."""

    code = "pipe"


@dataclass(eq=False, kw_only=True)
class RoleError(PipeError):
    """A verb that this place in the pipe does not have: a head received, or a tail sent."""

    code = "pipe.role"
    hint = "a head allocates and sends, a tail receives and frees; only a middle does all four"
    stage: str
    role: str
    verb: str

    def __str__(self) -> str:
        return f"stage {self.stage} is a {self.role}, which never calls {self.verb}"


@dataclass(eq=False, kw_only=True)
class OwnershipError(PipeError):
    """A buffer was touched by a task that does not own it."""

    code = "pipe.ownership"
    reason: str
    index: int = -1

    def __str__(self) -> str:
        return f"buffer {self.index}: {self.reason}" if self.index >= 0 else self.reason


@dataclass(eq=False, kw_only=True)
class GuestError(PipeError):
    """A program that was attached to a pipe broke a rule, or was gone before it was done."""

    code = "pipe.guest"
    hint = "docs/spec/attach-abi.md says what a guest must do"
    reason: str

    def __str__(self) -> str:
        return f"the attached program: {self.reason}"


@dataclass(eq=False, kw_only=True)
class BufferTimeoutError(PipeError):
    """No buffer came in time; nothing was taken."""

    code = "pipe.timeout"
    retryable = True
    waited_s: float

    def __str__(self) -> str:
        return f"no buffer came within {self.waited_s:g} s"


@dataclass(eq=False, kw_only=True)
class QuotaError(PipeError):
    """An instance asked for more buffers than its share, and the policy is to end it."""

    code = "pipe.quota"
    hint = "send or free buffers sooner, raise `buffers`, or use the policy `wait`"
    stage: str
    instance: int
    quota: int

    def __str__(self) -> str:
        return (
            f"stage {self.stage}, instance {self.instance}: "
            f"all {self.quota} buffers of its share are in use"
        )


@dataclass(eq=False, kw_only=True)
class RoomError(PipeError):
    """What a stage must add to a block does not fit its buffer; the block was not changed."""

    code = "pipe.room"
    hint = "use fewer transforms, or let the head fill its buffers less"
    what: str
    need: int
    have: int

    def __str__(self) -> str:
        return f"{self.what}: needs {self.need} bytes, its buffer has {self.have}"


@dataclass(eq=False, kw_only=True)
class SequenceError(PipeError):
    """A number was repeated, or can no longer arrive."""

    code = "pipe.sequence"
    sequence: int
    reason: str

    def __str__(self) -> str:
        return f"sequence {self.sequence}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class NoPipeError(PipeError):
    """No pipe of that name runs here."""

    code = "pipe.missing"
    exit_status = 66
    hint = "`datamover status` lists what runs"
    pipe: str

    def __str__(self) -> str:
        return f"no pipe is called {self.pipe}"


@dataclass(eq=False, kw_only=True)
class StopRequestedError(PipeError):
    """The monitor asked this task to end while it worked or waited; nothing was taken."""

    code = "pipe.stopped"
    exit_status = 75
    reason: str = "the pipe was stopped"

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False, kw_only=True)
class StageFailedError(PipeError):
    """A stage ended abnormally and its pipe was stopped.

    Attributes:
        stage: The stage's name in the pipe.
        instance: Its instance, from 0.
        sequence: The number it was working on; -1 when it held none.
        cause: What happened, in one line.
        cause_code: ``code`` of the error behind it; "signal", "exit" or "exception" otherwise.
        machine: Where it ran; empty: here.
    """

    code = "pipe.stage-failed"
    stage: str
    instance: int
    sequence: int
    cause: str
    cause_code: str = "exception"
    cause_status: int = 70
    cause_hint: str = ""
    machine: str = ""

    @property
    def exit_code(self) -> int:
        """The exit status of the cause, where there is one."""
        return self.cause_status

    def __str__(self) -> str:
        at = f", sequence {self.sequence}" if self.sequence >= 0 else ""
        where = f" on {self.machine}" if self.machine else ""
        return f"stage {self.stage}{where}, instance {self.instance}{at}: {self.cause}"


@dataclass(eq=False, kw_only=True)
class ForkServerError(PipeError):
    """The process that tasks are forked from ended, and every task of it; the pipe was stopped.

    Attributes:
        status: Its exit status, or minus the signal that killed it.
        machine: Where it ran; empty: here.
    """

    code = "pipe.fork-server"
    exit_status = 71
    hint = "run it again; the system log says whether memory ran out or somebody killed it"
    status: int
    machine: str = ""

    def __str__(self) -> str:
        how = f"was killed by signal {-self.status}"
        if self.status >= 0:
            how = f"exited with status {self.status}"
        where = f" on {self.machine}" if self.machine else ""
        return f"the fork server{where} {how}, and every task of the pipe with it"


@dataclass(eq=False, kw_only=True)
class ControllerError(PipeError):
    """The process that leads a pipe for the monitor ended, and the pipe with it.

    Attributes:
        status: Its exit status, or minus the signal that killed it.
    """

    code = "pipe.controller"
    exit_status = 71
    hint = "the monitor's log, or the system's, says why"
    status: int

    def __str__(self) -> str:
        how = f"was killed by signal {-self.status}"
        if self.status >= 0:
            how = f"exited with status {self.status}"
        return f"the controller of the pipe {how}, and every task of the pipe was stopped"
