#!/bin/sh
# Print the folder of a cargo that is new enough for this workspace; exit 1 when there is none.
#
# Candidates in this order: PATH, ~/.cargo/bin, Debian's cargo-web. The caller puts the folder at the
# front of PATH, so that rustc, clippy and rustfmt come from the same toolchain.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$here/../Cargo.toml")

# A cargo that cannot start, such as rustup's without a toolchain, has no version and is none.
is_new_enough() {
    found=$(PATH="$(dirname "$1"):$PATH" "$1" --version 2>/dev/null | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

for cargo in "$(command -v cargo || true)" "${HOME:-/nonexistent}/.cargo/bin/cargo" /usr/bin/cargo; do
    if [ -x "$cargo" ] && is_new_enough "$cargo"; then
        dirname "$cargo"
        exit 0
    fi
done
echo "udsrv: there is no cargo $wanted or newer, neither on PATH nor in ~/.cargo/bin nor Debian's cargo-web" >&2
exit 1
