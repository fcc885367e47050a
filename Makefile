# One door for everything; each target is a script or a tool, so nothing needs make.

VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup fmt lint test ci faults kills-hosts bench soak reference tapes

setup:
	scripts/setup test

fmt:
	$(BIN)/ruff format src tests
	$(BIN)/ruff check --fix-only src tests

lint:
	scripts/lint

test:
	$(BIN)/pytest -m "not slow and not faults"

ci:
	.ci/run

faults:
	$(BIN)/pytest -m faults

kills-hosts:
	DATAMOVER_HOST_KILLS=500 $(BIN)/pytest tests/faults/test_two_host_kills.py

bench:
	@for each in hops startup local small link retry copies; do echo "== $$each"; $(BIN)/python "bench/$$each.py" || exit 1; done

soak:
	DATAMOVER_KILLS=500 $(BIN)/pytest tests/faults/test_kills.py tests/faults/test_pipe_kills.py
	DATAMOVER_KILLS=600 $(BIN)/pytest tests/faults/test_retry.py tests/faults/test_retry_backup.py tests/faults/test_retry_elsewhere.py tests/integration/test_jobs.py
	DATAMOVER_RESUMES=70 DATAMOVER_MUTATIONS=200 $(BIN)/pytest tests/integration/test_resume_elsewhere.py tests/unit/mover/test_resume.py
	$(BIN)/python bench/retry.py --runs 1

tapes:
	scripts/test-tapes

reference:
	$(BIN)/python -m datamover.testing.reference docs/reference
