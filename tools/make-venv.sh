#!/bin/sh
# Make the virtual environment VENV from /usr/bin/python3 with the pinned tools, if it is not up to date.
#
# usage: make-venv.sh VENV REQUIREMENTS
# Not the python3 on PATH: that one may live under somebody's 0700 home, where the dropped supervisor
# cannot even start.
set -eu
venv=$1 requirements=$2
python=/usr/bin/python3
umask 022

wanted=$({ cat "$requirements"; "$python" -VV; echo "$venv"; } | sha256sum)
[ "$(cat "$venv/.made-from" 2>/dev/null)" != "$wanted" ] || exit 0

echo "udsrv: making the virtual environment $venv" >&2
rm -rf "$venv"
mkdir -p "$(dirname "$venv")"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --cache-dir "$PWD/.cache/pip" --require-hashes --only-binary :all: -r "$requirements"
echo "$wanted" >"$venv/.made-from"
