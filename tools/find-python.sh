#!/bin/sh
# Print the path of a Python >= 3.12 that can make virtual environments.
#
# Each candidate is really run: a pyenv shim exists for versions that are installed but not
# selected, and then fails.
set -eu

suits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1
}

for candidate in "${PYTHON:-}" python3.14 python3.13 python3.12 python3 \
    "${HOME:-/root}"/.pyenv/versions/3.1[2-9]*/bin/python3; do
    if [ -n "$candidate" ] && suits "$candidate"; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done
echo "No Python >= 3.12 with venv found. Name one: make setup PYTHON=/path/to/python3.12" >&2
exit 1
