"""A pipe drawn as text: who stands where, in what order, with which share of the buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.cli.answer import Drawing
from datamover.cli.measure import count_text, printable, size_text

if TYPE_CHECKING:
    from datamover.pipe.layout import LaidStage, Layout

__all__ = ["draw"]

_ARROW: Final = "    │"
_SPREAD: Final = "    ╞══ any instance"
_GATHER: Final = "    ╞══ back in order"


def draw(layout: Layout) -> Drawing:
    """Return the pipe, head first, as lines and as values."""
    geometry = layout.geometry
    width = max(len(printable(stage.name)) for stage in layout.stages)
    stages, tasks = _many(len(layout.stages), "stage"), _many(len(layout.tasks), "task")
    lines = [f"pipe {printable(layout.name)}: {stages}, {tasks}", ""]
    for place, stage in enumerate(layout.stages):
        if place:
            lines.append(_between(layout.stages[place - 1], stage))
        lines.append(_line(stage, width))
    shared = sum(len(task.buffers) for task in layout.tasks)
    size = size_text(geometry.buffer_size)
    lines += [
        "",
        f"buffers: {geometry.buffers} x {size}, {shared} of them in shares",
        f"memory: {size_text(geometry.size)} in one segment",
    ]
    return Drawing(text="\n".join(lines) + "\n", json=_values(layout))


def _line(stage: LaidStage, width: int) -> str:
    facts = [stage.definition.info.role.value.ljust(6), f"x{stage.instances}".ljust(3)]
    facts.append(stage.mode.value)
    if stage.share:
        each = " each" if stage.instances > 1 else ""
        facts.append(f"share: {_many(stage.share, 'buffer')}{each}, then {stage.spec.on_quota}")
    notes = [
        text
        for holds, text in (
            (stage.inserted, "inserted by the engine"),
            (stage.joined, "in the task before it"),
            (stage.retried, "replaced when it dies"),
            (stage.resequences, "resequencer before it"),
            (stage.stamps, "sequencer behind it"),
        )
        if holds
    ]
    if notes:
        facts.append(f"({', '.join(notes)})")
    return f"  {printable(stage.name).ljust(width)}  {'  '.join(facts)}"


def _between(sender: LaidStage, receiver: LaidStage) -> str:
    if receiver.joined:
        return _ARROW
    if receiver.instances > 1:
        return _SPREAD
    return _GATHER if sender.instances > 1 else _ARROW


def _many(count: int, noun: str) -> str:
    return f"{count_text(count)} {noun}" + ("s" if count != 1 else "")


def _values(layout: Layout) -> dict[str, object]:
    return {
        "event": "pipe",
        "name": layout.name,
        "tasks": len(layout.tasks),
        "buffers": layout.geometry.buffers,
        "buffer_size": layout.geometry.buffer_size,
        "memory": layout.geometry.size,
        "stages": [
            {
                "name": stage.name,
                "use": stage.spec.use,
                "role": stage.definition.info.role.value,
                "instances": stage.instances,
                "mode": stage.mode.value,
                "share": stage.share,
                "on_quota": stage.spec.on_quota.value,
                "sequencer": stage.stamps,
                "resequencer": stage.resequences,
                "inserted": stage.inserted,
                "joined": stage.joined,
                "on_death": "retry" if stage.retried else "stop",
            }
            for stage in layout.stages
        ],
    }
