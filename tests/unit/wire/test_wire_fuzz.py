"""The fuzz target runs, and finds nothing in a short seeded run."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def test_a_short_seeded_run_finds_nothing():
    path = Path(__file__).parents[2] / "fuzz" / "wire_fuzz.py"
    spec = importlib.util.spec_from_file_location("wire_fuzz", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    module.run_seeded(seed=7, count=1500)
