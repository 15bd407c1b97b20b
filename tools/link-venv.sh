#!/bin/sh
# Make .venv of this tree a link to VENV, which as root is outside the tree.
#
# usage: link-venv.sh VENV
# Says in VENV's folder whose it is, and removes the folders of trees that are gone.
set -eu
venv=$1
[ "$(readlink .venv)" != "$venv" ] || exit 0

[ -L .venv ] || rm -rf .venv
ln -sfn "$venv" .venv
own=$(dirname "$venv")
echo "$PWD" >"$own/tree"
for other in "$(dirname "$own")"/*; do
    [ ! -f "$other/tree" ] || [ -d "$(cat "$other/tree")" ] || rm -rf "$other"
done
