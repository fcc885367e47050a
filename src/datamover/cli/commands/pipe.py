"""``datamover pipe run|show SPEC.toml``: pipes that are written in a file."""

from typing import Annotated

from cyclopts import Parameter

from datamover.cli.drawing import draw
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.render import show as render
from datamover.pipe.layout import lay_out
from datamover.pipe.spec import load_spec

__all__ = ["show"]


def show(
    spec: Annotated[str, Parameter(name="SPEC.toml")], /, *, everywhere: Everywhere = DEFAULTS
) -> None:
    """Draw a pipe: stages, instances, order, shares, buffers and memory.

    Args:
        spec: A pipe file; docs/reference/pipe-file.md says what it holds.
        everywhere: The options that every command takes.
    """
    render(draw(lay_out(load_spec(spec))), everywhere)
