"""How an error is said: `error[code]: text` and `hint: ...`, or one JSON object.

Source: docs/reference/cli.md, "Errors"; docs/reference/errors.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from datamover.cli.measure import readable
from datamover.cli.status import Status
from datamover.errors import DataMoverError, Fact, PeerRefusedError, StageFailedError, facts

__all__ = ["Problem"]

_DEBUG: Final = "run it again with DATAMOVER_DEBUG=1 to see the traceback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error, ready to be shown.

    Attributes:
        code: Stable, for scripts.
        facts: The error's own fields, for `--json`.
    """

    code: str
    text: str
    hint: str
    status: int
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Describe any error; one that nobody foresaw is a mistake of the program."""
        match error:
            case StageFailedError():
                unforeseen = error.cause_code == "exception"
                return cls(
                    code=error.code,
                    text=str(error),
                    hint=error.cause_hint or (_DEBUG if unforeseen else error.hint),
                    status=error.cause_status,
                    facts=facts(error),
                )
            case PeerRefusedError():
                return cls(
                    code=error.code,
                    text=str(error),
                    hint=readable(error.cause_hint),
                    status=error.cause_status,
                    facts=facts(error),
                )
            case DataMoverError():
                return cls(
                    code=error.code,
                    text=str(error),
                    hint=error.hint,
                    status=error.exit_status,
                    facts=facts(error),
                )
            case OSError():
                name = f"{error.filename}: " if isinstance(error.filename, str) else ""
                text = f"{name}{error.strerror or error}"
                return cls(code="system", text=text, hint=_DEBUG, status=Status.SYSTEM)
            case _:
                text = f"{type(error).__name__}: {error}"
                return cls(code="internal", text=text, hint=_DEBUG, status=Status.BUG)

    def as_text(self) -> str:
        """Return one line, and a second one when there is a hint."""
        line = f"error[{self.code}]: {readable(self.text)}"
        return f"{line}\nhint: {self.hint}" if self.hint else line

    def as_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(
            {
                "event": "error",
                "code": self.code,
                "text": self.text,
                "hint": self.hint,
                "exit_status": int(self.status),
                "facts": {k: v for k, v in self.facts.items() if k != "code"},
            }
        )
