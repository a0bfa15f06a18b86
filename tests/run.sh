#!/usr/bin/env bash
# Install what the tests need into .venv, lint, check types, test. Arguments go to pytest:
#   bash tests/run.sh                  all but the long (tests/long_tests.txt) and the slow ones
#   bash tests/run.sh -m 'not slow'    the long ones too, as CI does before a change is accepted
#   bash tests/run.sh -m slow          the slow ones
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
install_requirements requirements-test.txt

ruff check .
ruff format --check .
# Pyright comes with its own Node.js, which a machine without a network cannot fetch.
if pyright --version > /dev/null 2>&1; then
    pyright --pythonpath .venv/bin/python
else
    echo "pyright could not start; types were not checked"
fi
# What Python compiled is kept for the programs that tests start: some machines are set not to.
unset PYTHONDONTWRITEBYTECODE
# Two processes, for a machine of two cores. The tests of a file share what they compiled; files start
# in the order of tests/conftest.py, the longest first.
python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
