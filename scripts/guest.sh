# shellcheck shell=bash
# A Debian with systemd in an emulated machine, made and used unattended: all that runs in it is its architecture's own.
# Sourced after lib.sh, never run.
#
# The host only unpacks packages; the guest runs their maintainer scripts at its first boot, so that its dpkg knows all of
# them. Later runs work on a snapshot of that disk, without a network, with a copy of a folder of the host's.

# guest_of ARCH SUITE: sets what the other functions ask for.
guest_of() {
  arch=$1 suite=$2
  case $arch in
    amd64) guest_kernel=linux-image-amd64 console=ttyS0 qemu=(qemu-system-x86_64 -machine q35 -cpu max) ;;
    arm64) guest_kernel=linux-image-arm64 console=ttyAMA0 qemu=(qemu-system-aarch64 -machine virt -cpu cortex-a72) ;;
    # The plain armmp kernel sees no PCI on this machine.
    armhf) guest_kernel=linux-image-armmp-lpae console=ttyAMA0 qemu=(qemu-system-arm -machine virt -cpu cortex-a15) ;;
    *) die "unknown architecture $arch; known are amd64, arm64 and armhf" ;;
  esac
  case $suite in bookworm | trixie) ;; *) die "unknown suite $suite; known are bookworm and trixie" ;; esac
  guest=$(target_dir)/guest/$suite-$arch
}

GUEST_PACKAGES=systemd-sysv,udev,dbus,kmod,procps,iproute2,ffmpeg,python3,openssl
GUEST_DISK=4G
GUEST_MEMORY=1024
# Emulated packages take their time to be configured.
GUEST_FIRST_BOOT=7200

# need_guest: makes the guest if there is none of these packages. 1.5 GB each, kept in TARGET/guest.
need_guest() {
  need qemu-system-x86_64=qemu-system-x86 qemu-system-aarch64=qemu-system-arm mke2fs=e2fsprogs e2fsck=e2fsprogs \
    depmod=kmod cpio=cpio flock=util-linux ar=binutils xz=xz-utils zstd=zstd
  mkdir -p "$(dirname "$guest")"
  exec {guest_held}>"$guest.held"
  flock --wait 10800 "$guest_held" || die "$guest has been in the making for three hours"
  if [ "$(cat "$guest/packages" 2>/dev/null)" != "$GUEST_PACKAGES" ]; then
    make_guest
  fi
  exec {guest_held}>&-
}

make_guest() {
  local mirror begin=$SECONDS
  [ "$(id -u)" -eq 0 ] || die "making a guest needs root"
  need debootstrap=debootstrap unshare=util-linux \
    /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
  mirror=$(debian_mirror)
  rm -rf "$guest" "$guest.new"
  mkdir "$guest.new"
  say "$suite $arch: unpacking a system"
  unshare --mount timeout 3600 debootstrap --foreign --variant=minbase --arch="$arch" --include="$GUEST_PACKAGES" \
    "$suite" "$guest.new/tree" "$mirror" >"$guest.new/log" 2>&1 || die "debootstrap: $(tail -n 5 "$guest.new/log")"
  plain_packages "$guest.new/tree/var/cache/apt/archives"
  say "$suite $arch: unpacking its kernel"
  make_debian 1800 "$suite" "$guest.new/kernel" --variant=extract --skip=check/qemu \
    --architectures="$arch" --include="$guest_kernel,busybox-static"
  lay_out
  mke2fs -q -F -t ext4 -O ^has_journal -d "$guest.new/tree" "$guest.new/disk" "$GUEST_DISK" >/dev/null
  rm -rf "$guest.new/tree" "$guest.new/kernel"
  mv "$guest.new" "$guest"
  say "$suite $arch: first boot, which configures the packages"
  GUEST_SNAPSHOT=off GUEST_INIT=/usr/lib/rill-guest/first guest_run / "$GUEST_FIRST_BOOT" \
    '/debootstrap/debootstrap --second-stage && rm -f /var/cache/apt/archives/*.deb' >"$guest/log" 2>&1 ||
    die "the first boot: $(tail -n 20 "$guest/log")"
  # The boot can't unmount what it runs from, and there is no journal.
  e2fsck -fy "$guest/disk" >>"$guest/log" 2>&1 || [ $? -eq 1 ] || die "the guest's disk: $(tail -n 5 "$guest/log")"
  printf '%s\n' "$GUEST_PACKAGES" >"$guest/packages"
  say "$suite $arch: made in $((SECONDS - begin)) s"
}

# plain_packages FOLDER: the packages without compression, which costs an emulated machine most of its time.
plain_packages() {
  local package work
  work=$(mktemp -d)
  for package in "$1"/*.deb; do
    (
      cd "$work" || exit
      ar x "$package"
      for member in *.tar.*; do
        case $member in
          *.xz) xz -d "$member" ;;
          *.zst) zstd -q -d --rm "$member" ;;
          *.gz) gzip -d "$member" ;;
        esac
      done
      rm "$package"
      ar rcD "$package" debian-binary control.tar data.tar
      rm debian-binary control.tar data.tar
    )
  done
  rm -r "$work"
}

# lay_out: what runs commands in the guest, its kernel, and an initrd that finds the disk.
lay_out() {
  local root=$guest.new/tree modules version unit
  modules=$(find "$guest.new/kernel" -path '*/lib/modules/*' -prune -print -quit)
  version=$(basename "$modules")
  mkdir -p "$root/usr/lib/modules" "$root/usr/lib/rill-guest" "$root/etc/systemd/system/multi-user.target.wants"
  mv "$modules" "$root/usr/lib/modules/"
  mv "$guest.new/kernel/boot/vmlinuz-$version" "$guest.new/vmlinuz"
  depmod -b "$root" "$version"
  : >"$root/etc/fstab"
  echo guest >"$root/etc/hostname"
  # Nobody waits for these in a guest that lives for one command.
  for unit in systemd-firstboot.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  cat >"$root/usr/lib/rill-guest/run" <<'RUN'
#!/bin/sh
# Runs the host's command; output and exit status go to its folder.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root
mkdir -p /run/host
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /run/host
cd /run/host && sh ./command >>output 2>&1 </dev/null
echo $? >/run/host/status.new
mv /run/host/status.new /run/host/status
cd /
sync
umount /run/host
mount -o remount,ro / 2>/dev/null
sync
echo o >/proc/sysrq-trigger
sleep 60
RUN
  cat >"$root/usr/lib/rill-guest/first" <<'FIRST'
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
exec /usr/lib/rill-guest/run
FIRST
  chmod +x "$root/usr/lib/rill-guest/run" "$root/usr/lib/rill-guest/first"
  cat >"$root/etc/systemd/system/rill-guest.service" <<'UNIT'
[Unit]
Description=Command of the host
After=basic.target dbus.socket systemd-udev-settle.service
[Service]
Type=exec
ExecStart=/usr/lib/rill-guest/run
TimeoutStopSec=5
UNIT
  ln -sf ../rill-guest.service "$root/etc/systemd/system/multi-user.target.wants/rill-guest.service"
  make_initrd "$version"
}

make_initrd() {
  local root=$guest.new/tree initrd=$guest.new/initrd.d file name
  mkdir -p "$initrd"/{bin,modules,proc,sys,dev,disk}
  cp "$(find "$guest.new/kernel" -path '*bin/busybox' -type f -print -quit)" "$initrd/bin/busybox"
  ln -s busybox "$initrd/bin/sh"
  for name in virtio_pci virtio_blk ext4 9p 9pnet_virtio; do
    modprobe -d "$root" -S "$1" --show-depends "$name" 2>/dev/null | sed -n 's/^insmod //p'
  done | awk '!seen[$1]++ { print $1 }' | while IFS= read -r file; do
    name=$(basename "$file")
    case $name in
      *.xz) xz -dc "$file" >"$initrd/modules/${name%.xz}" ;;
      *) cp "$file" "$initrd/modules/" ;;
    esac
    echo "${name%.xz}" >>"$initrd/modules/order"
  done
  cat >"$initrd/init" <<'INIT'
#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
while read -r module; do
  $B insmod /modules/$module || echo "initrd: $module can't be loaded"
done </modules/order
n=0
while [ ! -b /dev/vda ] && [ $n -lt 600 ]; do
  $B sleep 0.1
  n=$((n + 1))
done
$B mount -t ext4 /dev/vda /disk || $B poweroff -f
init=/sbin/init
for word in $($B cat /proc/cmdline); do
  case $word in guest.init=*) init=${word#*=} ;; esac
done
$B umount /proc /sys
$B mount --move /dev /disk/dev
exec $B switch_root /disk "$init"
INIT
  chmod +x "$initrd/init"
  (cd "$initrd" && find . | cpio --quiet -o -H newc | gzip -1) >"$guest.new/initrd"
  rm -rf "$initrd"
}

# guest_run FOLDER SECONDS COMMAND: runs the command (sh, as root) in the guest, in a copy of the folder (/: nothing is
# copied); prints its output as it comes and returns its exit status, 125 if there is none after that time. What the command
# puts into kept/ comes back into the folder.
guest_run() {
  local shared status begin=$SECONDS
  shared=$(mktemp -d)
  guest_shared=$shared
  [ "$1" = / ] || cp -a "$1/." "$shared/"
  printf '%s\n' "$3" >"$shared/command"
  : >"$shared/output"
  timeout -k 10 "$2" "${qemu[@]}" -accel tcg,thread=multi -smp 2 -m "$GUEST_MEMORY" -nodefaults -no-reboot -display none \
    -monitor none -serial "file:$shared/serial" -kernel "$guest/vmlinuz" -initrd "$guest/initrd" \
    -drive "file=$guest/disk,format=raw,if=none,id=disk,cache=unsafe,snapshot=${GUEST_SNAPSHOT:-on}" \
    -device virtio-blk-pci,drive=disk -device virtio-rng-pci -nic none \
    -virtfs "local,path=$shared,mount_tag=host,security_model=none,id=host" \
    -append "console=$console panic=-1 quiet systemd.show_status=0 mitigations=off guest.init=${GUEST_INIT:-/sbin/init}" \
    2>"$shared/qemu" &
  guest_pid=$!
  tail --pid="$guest_pid" -n +1 -s 1 -f "$shared/output" 2>/dev/null || true
  wait "$guest_pid" || true
  guest_pid=
  status=$(cat "$shared/status" 2>/dev/null || true)
  if [ -z "$status" ]; then
    tail -n 30 "$shared/serial" "$shared/qemu" >&2
    status=125
  fi
  [ ! -d "$shared/kept" ] || cp -a "$shared/kept" "$1/"
  guest_end
  say "$suite $arch: $((SECONDS - begin)) s in the guest"
  return "$status"
}

# guest_end: a guest that still runs, and what it shared, are gone; for the traps of those who source this.
guest_end() {
  [ -z "${guest_pid:-}" ] || kill "$guest_pid" 2>/dev/null || true
  rm -rf "${guest_shared:-/nonexistent}"
  guest_pid='' guest_shared=''
}
