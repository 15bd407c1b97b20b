#!/bin/bash
# Boot the tree ROOT, with everything it writes kept in UPPER, until it powers itself off.
#
# usage: unshare --mount boot.sh ROOT UPPER     (NOTIFY_SOCKET gets READY=1 at the end of each boot)
set -euo pipefail
root=$1 upper=$2
notify=$NOTIFY_SOCKET
unset NOTIFY_SOCKET

mount --make-rprivate /
# nspawn insists that its /run is not on disk, and the systemd inside wants a unified control group tree.
mount -t tmpfs tmpfs /run -o mode=755
umount --lazy --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# What a run that was killed left behind is empty by now.
for left in /sys/fs/cgroup/udsrv-e2e.*; do
    [ ! -d "$left" ] || [ -d "/proc/${left##*.}" ] || find "$left" -depth -type d -exec rmdir {} \;
done
group=/sys/fs/cgroup/udsrv-e2e.$$
mkdir "$group"
echo $$ >"$group/cgroup.procs"
# shellcheck disable=SC2317  # reached through the trap
leave_group() {
    echo $$ >/sys/fs/cgroup/cgroup.procs
    find "$group" -depth -type d -exec rmdir {} \;
}
trap leave_group EXIT

mkdir -p "$upper"/{up,work,merged}
mount -t overlay overlay -o "lowerdir=$root,upperdir=$upper/up,workdir=$upper/work" "$upper/merged"

reboot=133
status=$reboot
while [ "$status" = "$reboot" ]; do
    status=0
    # The filter that nspawn 252 brings lacks Landlock. A network of its own has loopback and nothing else.
    NOTIFY_SOCKET=$notify setpriv --pdeathsig KILL systemd-nspawn --quiet --directory "$upper/merged" --boot \
        --register=no --keep-unit --notify-ready=yes --console=pipe --private-network --link-journal=no \
        --machine=udsrv-e2e --settings=no \
        --system-call-filter='landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
        </dev/null || status=$?
done
exit "$status"
