#!/bin/sh
# Build the release wheel into dist/ and install it into VENV, if the sources changed since last time.
#
# usage: build-wheel.sh VENV
# Always a real wheel: with an editable install root would run files that somebody else may write.
set -eu
venv=$1
umask 022

sources() {
    find src rust packaging Cargo.toml Cargo.lock pyproject.toml README.md -type f \
        ! -name '*.pyc' -print0 | LC_ALL=C sort -z
}
wanted=$({ sources | xargs -0 sha256sum; rustc --version; /usr/bin/python3 -VV; } | sha256sum)

if [ "$(cat dist/.built-from 2>/dev/null)" != "$wanted" ]; then
    rm -rf dist
    "$venv/bin/maturin" build --release --locked --quiet --interpreter /usr/bin/python3 --out dist
    echo "$wanted" >dist/.built-from
fi
if [ "$(cat "$venv/.udsrv-from" 2>/dev/null)" != "$wanted" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --force-reinstall --no-deps --no-index dist/udsrv-*.whl
    echo "$wanted" >"$venv/.udsrv-from"
fi
echo "udsrv: $(ls dist/udsrv-*.whl) is installed; try .venv/bin/udsrv --help" >&2
