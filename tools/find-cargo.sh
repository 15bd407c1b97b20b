#!/bin/sh
# Print the folder of a cargo that is new enough for this workspace; as root, install one if there is none.
#
# Candidates in this order: PATH, ~/.cargo/bin, Debian's cargo-web. The caller puts the folder at the
# front of PATH, so that rustc, clippy and rustfmt come from the same toolchain.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$here/../Cargo.toml")

# 1.85 <= 1.96.0, compared as versions; a cargo that cannot start (rustup without a toolchain) is none.
is_new_enough() {
    found=$(PATH="$(dirname "$1"):$PATH" "$1" --version 2>/dev/null | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

first_good_cargo() {
    for cargo in "$(command -v cargo || true)" "${HOME:-/nonexistent}/.cargo/bin/cargo" /usr/bin/cargo; do
        if [ -x "$cargo" ] && is_new_enough "$cargo"; then
            dirname "$cargo"
            return 0
        fi
    done
    return 1
}

if first_good_cargo; then
    exit 0
fi
packages='cargo-web rustc-web rust-web-clippy rustfmt-web'
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # Debian's own `cargo` package is too old and in the way of cargo-web, which replaces it.
    echo "udsrv: installing $packages" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true
    # shellcheck disable=SC2086  # one word per package
    apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends $packages >/dev/null || true
    if first_good_cargo; then
        exit 0
    fi
fi
echo "udsrv: cargo $wanted or newer is needed, from rustup or by: apt-get install $packages" >&2
exit 1
