"""``python -m datamover``: the program, where its script is not on the path."""

from __future__ import annotations

import sys

from datamover.cli.main import main

sys.exit(main())
