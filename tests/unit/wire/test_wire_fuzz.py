"""The fuzz targets run, and find nothing in a short seeded run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["wire_fuzz", "control_fuzz", "link_fuzz", "rules_fuzz"])
def test_a_short_seeded_run_finds_nothing(name: str):
    path = Path(__file__).parents[2] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    module.run_seeded(seed=7, count=1500)
