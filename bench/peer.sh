#!/bin/sh
# Run the peer, Debian sid's bpftrace, in its own root with our /proc, /sys, /dev and /tmp; the mounts end with it.
root=${TRAPLINE_PEERS:-/var/lib/trapline-peers}/sid
[ -x "$root/usr/bin/bpftrace" ] || { echo "no bpftrace in $root: run make setup" >&2; exit 1; }
exec unshare -m sh -c '
    root=$1; shift
    for name in proc sys dev tmp; do mount --rbind "/$name" "$root/$name" || exit 1; done
    exec chroot "$root" /usr/bin/bpftrace "$@"' sh "$root" "$@"
