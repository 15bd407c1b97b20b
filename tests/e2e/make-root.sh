#!/bin/bash
# Make a bootable tree of the Debian release that this machine runs, in CACHE/root, unless it is there.
#
# usage: make-root.sh CACHE
# Packages are unpacked without running their maintainer scripts, which takes seconds where debootstrap
# takes minutes; what the scripts would have done and the tests need is done below.
set -euo pipefail
cache=$(realpath -m "$1")
root=$cache/root
packages=(
    base-files base-passwd bash dash coreutils util-linux mount login passwd libc-bin findutils grep sed
    systemd systemd-sysv dbus libpam-modules libpam-runtime procps iproute2 netbase
    nginx curl python3 python3-venv
)

made_from=$({ cat "$0"; cat /etc/debian_version; } | sha256sum)
[ "$(cat "$cache/made-from" 2>/dev/null || true)" != "$made_from" ] || exit 0

echo "udsrv: making the tree that tests/e2e boots" >&2
rm -rf "$cache"
mkdir -p "$cache"/{state,archives/partial,root}
: >"$cache/status"

# This machine's package lists and an empty list of installed packages: everything is downloaded.
apt_alone() {
    apt-get -qq -o Dir::State::status="$cache/status" -o Dir::Cache::archives="$cache/archives" \
        -o APT::Sandbox::User=root -o Debug::NoLocking=1 "$@"
}
apt-get update -qq || true
apt_alone install -y --no-install-recommends --download-only "${packages[@]}" >/dev/null

# Merged /usr first, so that every later package lands in the right place.
for directory in bin sbin lib lib64; do
    mkdir -p "$root/usr/$directory"
    ln -s "usr/$directory" "$root/$directory"
done
for package in "$cache"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink
done

cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
awk -F: '{print $1 ":*:19700:0:99999:7:::"}' "$root/etc/passwd" >"$root/etc/shadow"
chmod 640 "$root/etc/shadow"
[ -e "$root/usr/bin/sh" ] || ln -s dash "$root/usr/bin/sh"
chroot "$root" ldconfig
: >"$root/etc/machine-id"
echo udsrv-e2e >"$root/etc/hostname"
echo '127.0.0.1 localhost' >"$root/etc/hosts"

ln -s /etc/nginx/sites-available/default "$root/etc/nginx/sites-enabled/"

# dbus, which systemctl needs, and nginx, as their packages would have enabled them.
units=$root/etc/systemd/system
mkdir -p "$root"/var/{log,lib}/nginx "$units"/{multi-user,sockets}.target.wants
ln -s /usr/lib/systemd/system/dbus.socket "$units/sockets.target.wants/"
ln -s /lib/systemd/system/nginx.service "$units/multi-user.target.wants/"
# What has no business here; masked, so that the machine ends up "running" and not "degraded".
for unit in systemd-firstboot systemd-networkd systemd-networkd-wait-online systemd-resolved \
    systemd-timesyncd console-getty getty@tty1; do
    ln -sf /dev/null "$units/$unit.service"
done

rm -rf "$cache/archives" "$cache/state" "$cache/status"
echo "$made_from" >"$cache/made-from"
