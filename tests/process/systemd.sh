#!/bin/bash
# A real systemd as PID 1 of its own namespaces, on a copy-on-write view of this machine's files; nothing outside changes.
# Prints PID 1's pid as seen from outside when it has booted, and takes everything down when stdin closes.
# Needs root, overlayfs, cgroup2, util-linux. Arguments: directories that stay shared with the outside.
set -euo pipefail
top=$(mktemp -d /var/tmp/mozart-lab.XXXXXX)
cgroup=$(findmnt -nft cgroup2 -o TARGET)/${top##*/}
mkdir "$cgroup"

inside() {
  root=$top/root
  mount -t tmpfs -o mode=755 lab "$top"
  mkdir "$top"/{upper,work,root}
  mount -t overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" lab "$root"
  mount -t proc proc "$root/proc"
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  for place in run dev; do mount -t tmpfs -o mode=755 lab "$root/$place"; done
  mkdir "$root"/dev/{pts,shm} "$root/run/outside"
  for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs -o mode=1777 lab "$root/dev/shm"
  ln -s /proc/self/fd "$root/dev/fd"
  for place in "$@"; do mount --bind "$place" "$root$place"; done
  # None of this machine's own services.
  rm -rf "$root"/etc/systemd/system "$root"/lib/systemd/system/*.wants
  mkdir -p "$root"/etc/systemd/system/sockets.target.wants
  for unit in systemd-journald systemd-journald-dev-log; do
    ln -s "/lib/systemd/system/$unit.socket" "$root/etc/systemd/system/sockets.target.wants/"
  done
  cd "$root"
  pivot_root . run/outside
  umount -l /run/outside
  mount --make-rshared /
  exec env -i container=mozart-lab PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin LANG=C.UTF-8 /lib/systemd/systemd \
    --system --unit=multi-user.target --log-target=journal --show-status=no </dev/null
}

down() {
  kill -KILL "$outer" 2>/dev/null || :   # PID 1 dies with it, and every process of its namespace with PID 1
  wait "$outer" 2>/dev/null || :
  # The kernel needs a moment to empty a dead namespace's groups.
  for _ in $(seq 100); do find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null && break || sleep 0.05; done
  rmdir "$top"
}

export -f inside
export top
(echo $BASHPID >"$cgroup/cgroup.procs"
  exec setpriv --pdeathsig KILL unshare --mount --pid --cgroup --net --uts --ipc --fork --kill-child --propagation private \
    bash -euc 'inside "$@"' bash "$@") &
outer=$!
trap down EXIT
for _ in $(seq 200); do
  init=$(pgrep -P "$outer" || :)
  if [ -n "$init" ] && nsenter -a -t "$init" systemctl is-system-running >/dev/null 2>&1; then break; fi
  sleep 0.05
done
nsenter -a -t "$init" systemctl is-system-running >/dev/null
echo "$init"
cat >/dev/null
