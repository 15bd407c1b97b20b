#!/bin/sh
# Make sure that programs exist: install the Debian packages that hold them when root, else name them.
#
# usage: ensure-programs.sh PROGRAM...
# Three words are not programs: ensurepip (of python3-venv), libc-headers, libpython (to link with).
# A cargo that is too old counts as missing.
# Packages are installed without letting them start a daemon: policy-rc.d(8) refuses for the moment,
# and what was there before is put back.
set -eu
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)

is_there() {
    case $1 in
        ensurepip) /usr/bin/python3 -c 'import ensurepip, venv' ;;
        cargo) "$here/find-cargo.sh" ;;
        cargo-*) PATH="$("$here/find-cargo.sh"):$PATH" command -v "$1" ;;
        libc-headers) [ -e /usr/include/stdio.h ] ;;
        libpython) /usr/bin/python3 -c 'import os, sys, sysconfig as s
sys.exit(not os.path.exists(s.get_config_var("LIBDIR") + "/" + s.get_config_var("LDLIBRARY")))' ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

package_of() {
    case $1 in
        cc) echo gcc ;;
        ensurepip) echo python3-venv ;;
        libc-headers) echo libc6-dev ;;
        libpython) echo libpython3-dev ;;
        ss) echo iproute2 ;;
        systemd-analyze) echo systemd ;;
        systemd-nspawn) echo systemd-container ;;
        # Debian's cargo package is too old and is replaced by this one.
        cargo) echo cargo-web rustc-web ;;
        cargo-clippy) echo rust-web-clippy ;;
        cargo-fmt) echo rustfmt-web ;;
        *) echo "$1" ;;
    esac
}

missing_packages() {
    for program in "$@"; do
        is_there "$program" || package_of "$program"
    done | tr ' ' '\n' | sort -u | tr '\n' ' '
}

policy=/usr/sbin/policy-rc.d
restore_policy() {
    rm -f "$policy"
    [ ! -e "$policy.before-udsrv" ] || mv "$policy.before-udsrv" "$policy"
}

install_without_starting() {
    [ ! -e "$policy" ] || mv "$policy" "$policy.before-udsrv"
    trap restore_policy EXIT
    trap 'exit 1' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    export DEBIAN_FRONTEND=noninteractive
    # A third-party source that is down must not stop us; what is missing shows in the install.
    apt-get update -qq || true
    apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@" >/dev/null
}

packages=$(missing_packages "$@")
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "udsrv: to go on, this is needed: apt-get install ${packages% }" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "udsrv: these Debian packages, or what your distribution calls them, are missing: $packages" >&2
    exit 1
fi
echo "udsrv: installing $packages" >&2
# shellcheck disable=SC2086  # one word per package
install_without_starting $packages
still_missing=$(missing_packages "$@")
[ -z "$still_missing" ] || {
    echo "udsrv: installed, and still missing: $still_missing" >&2
    exit 1
}
