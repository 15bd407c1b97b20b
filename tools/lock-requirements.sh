#!/bin/sh
# Resolve requirements/*.in into requirements/*.txt, with versions and hashes for every Python we support.
set -eu
cd "$(dirname "$0")/.."
[ -x .cache/lock/bin/uv ] || {
    /usr/bin/python3 -m venv .cache/lock
    .cache/lock/bin/python -m pip install --quiet uv
}
for wanted in requirements/*.in; do
    .cache/lock/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
        --only-binary :all: --custom-compile-command 'make lock' -o "${wanted%.in}.txt" "$wanted"
done
