"""Each rule of the monitor's core is a script of events and effects (tests/golden/monitor/).

    tasks 3                 how many tasks the pipe has

    exited 1 -9             an event ...
    died 1+2 -9 @7 over 5   ... the process of 1 and 2, in second 7, at work on number 5
    ----
    stopping                ... the state that it leads to ...
      StopTask 0            ... and the effects, in order

``DATAMOVER_GOLDEN=write`` rewrites what follows each ``----`` with what the core does now.
"""

import os
from pathlib import Path

import pytest

from datamover.monitor.core import (
    CrewDied,
    CrewRespawned,
    Effect,
    Event,
    GraceExpired,
    KillTask,
    ReleasePipe,
    Report,
    Respawn,
    StartGrace,
    StopRequested,
    StopTask,
    Supervision,
    TaskExited,
    TaskFailed,
    TaskFinished,
    TaskReady,
)

SCRIPTS = sorted((Path(__file__).parent / "monitor").glob("*.txt"))


def numbers(crew: str) -> tuple[int, ...]:
    return tuple(map(int, crew.split("+")))


def event(line: str) -> Event:
    match line.split(maxsplit=2):
        case ["ready", task]:
            return TaskReady(int(task))
        case ["finished", task]:
            return TaskFinished(int(task))
        case ["failed", task, cause]:
            return TaskFailed(int(task), cause)
        case ["exited", task, status]:
            return TaskExited(int(task), int(status))
        case ["stop", *by]:
            return StopRequested(" ".join(by))
        case _:
            return other_event(line)


def other_event(line: str) -> Event:
    match line.split():
        case ["died", crew, status, at, *held]:
            over = tuple(map(int, held[1:]))
            return CrewDied(numbers(crew), int(status), float(at.lstrip("@")), over)
        case ["grace"]:
            return GraceExpired()
        case ["respawned", crew]:
            return CrewRespawned(numbers(crew))
        case _:
            raise ValueError(f"no event: {line}")


def say(effect: Effect) -> str:
    match effect:
        case StopTask(task) | KillTask(task):
            return f"{type(effect).__name__} {task}"
        case Respawn(crew, reason):
            return f"Respawn {'+'.join(map(str, crew))}: {reason}"
        case StartGrace() | ReleasePipe():
            return type(effect).__name__
        case Report(state, reason, culprit):
            blamed = f" (task {culprit})" if culprit >= 0 else ""
            return f"Report {state}: {reason}{blamed}"


def play(script: str) -> str:
    """Return the script with what the core makes of its events."""
    core, out = Supervision(0), []
    for block in script.strip().split("\n\n"):
        lines = block.split("\n")
        head = lines[: lines.index("----")] if "----" in lines else lines
        out.append("\n".join(head))
        comments = [line for line in head if line.startswith("#")]
        rest = [line for line in head if line not in comments]
        if rest and rest[0].startswith("tasks "):
            core = Supervision(int(rest.pop(0).split()[1]))
        effects = [effect for line in rest for effect in core.handle(event(line))]
        if len(comments) < len(head):
            out[-1] += "\n".join(["\n----", core.state, *(f"  {say(e)}" for e in effects)])
    return "\n\n".join(out) + "\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    script = path.read_text()
    played = play(script)
    if os.environ.get("DATAMOVER_GOLDEN") == "write":
        path.write_text(played)

    assert played == path.read_text()


def test_every_rule_has_a_script() -> None:
    assert len(SCRIPTS) >= 12


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(AssertionError):
        Supervision(1).handle("nonsense")  # type: ignore[arg-type]
