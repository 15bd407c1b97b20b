#!/bin/bash
# Boot the tree ROOT, with everything it writes kept in UPPER, until it powers itself off.
#
# usage: unshare --mount boot.sh ROOT UPPER     (NOTIFY_SOCKET gets READY=1 at the end of each boot)
# SIGTERM pulls the plug.
set -euo pipefail
root=$1 upper=$2
notify=$NOTIFY_SOCKET
unset NOTIFY_SOCKET

mount --make-rprivate /
# nspawn insists that its /run is not on disk, and the systemd inside wants a unified control group tree.
mount -t tmpfs tmpfs /run -o mode=755
umount --lazy --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
group=/sys/fs/cgroup/udsrv-e2e.$$
mkdir "$group"
echo $$ >"$group/cgroup.procs"

# However this ends, nothing of the machine goes on running.
# shellcheck disable=SC2317  # reached through the trap
leave_nothing() {
    echo $$ >/sys/fs/cgroup/cgroup.procs
    echo 1 >"$group/cgroup.kill"
    wait
    # What was killed is gone a moment later, and the kernel says so in cgroup.events.
    until grep -q '^populated 0' "$group/cgroup.events"; do :; done
    find "$group" -depth -type d -exec rmdir {} \;
}
trap leave_nothing EXIT
trap 'exit 143' TERM INT HUP

mkdir -p "$upper"/{up,work,merged}
mount -t overlay overlay -o "lowerdir=$root,upperdir=$upper/up,workdir=$upper/work" "$upper/merged"

reboot=133
status=$reboot
while [ "$status" = "$reboot" ]; do
    status=0
    # The filter that nspawn 252 brings lacks Landlock. A network of its own has loopback and nothing else.
    # In the background, since bash would keep a signal waiting until a program in front has ended.
    NOTIFY_SOCKET=$notify systemd-nspawn --quiet --directory "$upper/merged" --boot \
        --register=no --keep-unit --notify-ready=yes --console=pipe --private-network --link-journal=no \
        --machine=udsrv-e2e --settings=no \
        --system-call-filter='landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
        </dev/null &
    wait $! || status=$?
done
exit "$status"
