# Every target installs what it needs into .venv; nothing else on the machine is assumed but
# Python 3.11+ with venv. Settings (DSX_PORT, DSX_API_KEY …) pass through from the environment.
PYTHON ?= python3
BIN := .venv/bin
CONSTRAINTS ?= -c constraints.txt
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS)

.PHONY: server test coverage check docs mutants drills bench clean

server: .venv/.server
	$(BIN)/dsx serve

test: .venv/.test  # three at a time: most of the time they wait for servers
	$(BIN)/python -m pytest -m "not drill" --numprocesses 3 --dist loadfile

coverage: .venv/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not drill"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/win32 \
		src/dsx/client src/dsx/cli
	$(BIN)/lint-imports

docs: .venv/.docs  # the reference from the code, then all pages into build/docs
	$(BIN)/python -m tools.reference
	$(BIN)/sphinx-build -q -W --keep-going docs build/docs
	@echo "build/docs/index.html"

mutants: .venv/.test  # plants known mistakes, two at a time; SAMPLE=30: only so many
	$(BIN)/python -m tests.mutants $(if $(SAMPLE),--sample $(SAMPLE))

drills: .venv/.test
	$(BIN)/python -m pytest -m drill --timeout 3600

bench: .venv/.test
	$(BIN)/python -m bench

.venv/.server: pyproject.toml constraints.txt
	@echo "Installing DSX Hub into .venv: about a minute …"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[server]'
	touch $@

.venv/.test: pyproject.toml constraints.txt
	@echo "Installing DSX Hub and what its tests need into .venv: some minutes …"
	@echo "As root the tests also install Debian packages by apt (PostgreSQL, Ceph, nginx, a browser …);"
	@echo "as another user they report what is missing."
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[test]'
	touch $@ .venv/.server

.venv/.docs: pyproject.toml .venv/.test
	$(INSTALL) -e '.[docs]'
	touch $@

clean:
	rm -rf .venv build dist coverage .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .schemathesis
