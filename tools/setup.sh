#!/bin/sh
# Build .venv from uv.lock: the locked versions, every file checked against its locked hash.
# With "lock" as the first argument, resolve the dependencies anew into uv.lock instead.
#
# uv.lock is committed without the addresses of any registry (tools/strip_lock.py), so its names,
# versions and hashes are exported and the installer's own configuration says where to get them.
set -eu
cd "$(dirname "$0")/.."

unset VIRTUAL_ENV UV_PYTHON PYTHONHOME PYTHONPATH
export UV_PYTHON_DOWNLOADS=never
python=$(tools/find-python.sh)
uv=.cache/uv-venv/bin/uv

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv --without-pip .venv
fi

wanted=$(sed -n 's/^uv==\([^ ]*\).*/uv \1/p' tools/uv-requirements.txt)
case "$("$uv" --version 2>/dev/null || true)" in
"$wanted" | "$wanted "*) ;;
*)
    rm -rf .cache/uv-venv
    "$python" -m venv .cache/uv-venv
    .cache/uv-venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --require-hashes --requirement tools/uv-requirements.txt
    ;;
esac

if [ "${1:-}" = lock ]; then
    shift
    "$uv" lock --python .venv/bin/python "$@"
    exec .venv/bin/python tools/strip_lock.py
fi

# Without the machine's own index, which the lock file does not name; nothing is fetched here.
if ! env -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_INDEX -u UV_EXTRA_INDEX_URL \
    "$uv" lock --no-config --quiet --python .venv/bin/python --offline --check 2>/dev/null; then
    echo "uv.lock does not belong to this pyproject.toml: run make lock." >&2
    exit 1
fi

mkdir -p build
"$uv" export --quiet --python .venv/bin/python --frozen --no-emit-project --all-groups \
    --no-header --no-annotate --format requirements-txt --output-file build/requirements.txt
"$uv" pip sync --quiet --python .venv/bin/python --require-hashes build/requirements.txt
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
