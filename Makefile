# Few commands, boring names. Everything runs in a virtual environment made from a hashed lock file: .venv for python3,
# .venv-3.13 for `make test PYTHON=python3.13`. One stamp per lock: nothing is installed twice.

PYTHON ?= python3
VENV   := .venv$(if $(filter-out python3,$(PYTHON)),-$(patsubst python%,%,$(notdir $(PYTHON))))
BIN    := $(VENV)/bin
# Extra arguments: make test ARGS="tests/unit -k frames"
ARGS   ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# The distribution's own packages must come from this checkout, whatever the caller has on his path.
unexport PYTHONPATH PYTHONHOME MOZART_HOME MOZART_SOCKET

.PHONY: help demo test test-agents lint text faults attack torture soak bench clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    run examples/hello.yaml live, print its report, leave nothing running'
	@echo 'make test    run the tests (PYTHON=python3.13 for another interpreter, ARGS="-k frames" for some)'
	@echo 'make test-agents   run the real agent programs, pinned, against a loopback server (npm installs them the first time)'
	@echo 'make lint    ruff, mypy --strict'
	@echo 'make text    print every string that a person may see (ARGS=40 for that many, drawn by chance)'
	@echo 'make faults  what every test of a known fault says of the commit that had it, and now (ARGS="A03 D10" for some)'
	@echo 'make attack  what outsiders may decide, tried: agents, files, peers, other users (ARGS=mutations: with each guard taken out)'
	@echo 'make torture kill, starve and attack a daemon at random (ARGS="storm --kills 20 --seed 7" for some)'
	@echo 'make soak    ten thousand attempts in one daemon, and what it holds'
	@echo 'make bench   measure, side by side with the programs we compare with'
	@echo 'make clean   remove the virtual environments and caches'

demo: $(VENV)/run.stamp
	@$(BIN)/python examples/demo.py

# One test more side by side than there are cores: many wait for something. ARGS=-n0 for one after the other.
test: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -n $$(($$(nproc) + 1)) --dist worksteal $(ARGS)

test-agents: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.agents.install || true
	@$(BIN)/python -m pytest tests/agents -m 'agents or not agents' $(ARGS)

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

text: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.text $(ARGS)

faults: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.faults $(ARGS)

attack: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.attack $(ARGS)

torture: $(VENV)/dev.stamp $(if $(findstring fuzz,$(ARGS)),$(VENV)/fuzz.stamp)
	@$(BIN)/python -m tests.torture $(ARGS)

soak: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.torture soak $(ARGS)

bench: $(VENV)/bench.stamp
	@$(BIN)/python -m tests.bench $(ARGS)

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# sys.executable, because `python3` may be a slow wrapper (pyenv) that would then sit in front of everything.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("Mozart needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0])'
	@echo 'making $(VENV)'
	@"$$($(PYTHON) -c 'import sys; print(sys.executable)')" -m venv --clear $(VENV) || \
	    { echo 'cannot make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)' >&2; rm -rf $(VENV); exit 1; }

# An editable install without isolation: hatchling comes from a lock like everything else. It compiles nothing, and where
# PYTHONDONTWRITEBYTECODE is set every process of the hundreds that the tests start would.
define install
	@$(BIN)/python -m pip install --quiet --require-hashes $(addprefix -r ,$(filter %.lock,$^))
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q agents backends cli ipc mozartd workers tests
	@touch $@
endef

$(VENV)/run.stamp: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	$(install)

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(install)

# Where it cannot be had, the ordeal says that it is skipped.
$(VENV)/fuzz.stamp: requirements-fuzz.lock | $(VENV)/dev.stamp
	@$(BIN)/python -m pip install --quiet --require-hashes -r $< && touch $@ || echo 'cannot install atheris' >&2

$(VENV)/bench.stamp: requirements-bench.lock pyproject.toml | $(BIN)/python
	$(install)
