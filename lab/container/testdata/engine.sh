#!/bin/sh
# Starts dockerd in a node, whose /sys has no cgroups. $1 is its directory, whose name is also that of its cgroup.
set -eu
case "$(cat /proc/self/cgroup)" in
0::*) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;; # version 2 alone
*)
	mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
	while IFS=: read -r _ controllers _; do
		case $controllers in
		"") continue ;; # version 2 beside version 1
		name=*) options=none,$controllers ;;
		*) options=$controllers ;;
		esac
		mkdir "/sys/fs/cgroup/${controllers#name=}"
		mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/${controllers#name=}"
	done </proc/self/cgroup
	;;
esac
exec dockerd --data-root "$1/data" --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/${1##*/}" --log-level error
