# shellcheck shell=bash
# What scripts/test-hardware wants in a guest of Debian 13 and Debian's guest lacks: the kernel modules vim2m and vicodec, and
# v4l2-ctl. Sourced after lib.sh and guest.sh, never run.
#
# The modules are built from the sources and headers of the guest's very kernel, in a chroot that is gone afterwards; the
# packages are those that its dpkg lacks. Both stay beside the guest's disk, below the name of the kernel.
# shellcheck disable=SC2154 # guest_of sets arch, suite and guest

MODULES_TOOLS=make,xz-utils,libelf1t64
MODULES_DEBS="v4l-utils alsa-utils"

# need_modules: sets $extras to the folder with load (sh), *.ko and *.deb.
need_modules() {
  local version
  need debugfs=e2fsprogs
  # The disk is never mounted here; -c leaves its bitmaps alone.
  version=$(debugfs -c -R 'ls -p /usr/lib/modules' "$guest/disk" 2>/dev/null | cut -d/ -f6 | grep '^[0-9]' || true)
  [ -n "$version" ] || die "$guest/disk names no kernel below /usr/lib/modules"
  extras=$guest/hardware-$version
  exec {guest_held}>"$guest.held"
  flock --wait 7200 "$guest_held" || die "$extras has been in the making for two hours"
  if [ "$(cat "$extras/packages" 2>/dev/null)" != "$MODULES_DEBS" ]; then
    make_modules "$version"
  fi
  load_script >"$extras/load"
  exec {guest_held}>&-
}

make_modules() {
  local version=$1 begin=$SECONDS karch gnu compiler architectures
  [ "$(dpkg --print-architecture)" = amd64 ] || die "modules are built on an amd64 system"
  case $arch in
    amd64) karch=x86 gnu=x86_64-linux-gnu compiler=gcc architectures=amd64 ;;
    arm64) karch=arm64 gnu=aarch64-linux-gnu compiler=gcc-aarch64-linux-gnu architectures=amd64,arm64 ;;
    armhf) karch=arm gnu=arm-linux-gnueabihf compiler=gcc-arm-linux-gnueabihf architectures=amd64,armhf ;;
  esac
  say "$suite $arch: building modules for $version (three minutes, 350 MB to download)"
  rm -rf "$extras" "$extras.new"
  mkdir -p "$extras.new/out"
  debugfs -c -R 'cat /var/lib/dpkg/status' "$guest/disk" >"$extras.new/status" 2>/dev/null
  build_script >"$extras.new/build"
  cat >"$extras.new/hook" <<HOOK
#!/bin/sh
set -e
cp "$extras.new/status" "$extras.new/build" "\$1/"
chroot "\$1" sh /build "$arch" "$version" "$karch" "$gnu-" "$MODULES_DEBS" >"$extras.new/log" 2>&1
cp "\$1"/out/*.ko "\$1"/out/*.deb "$extras.new/out/"
HOOK
  chmod +x "$extras.new/hook"
  (make_debian 1800 "$suite" "$extras.new/root" --variant=apt --skip=check/qemu --architectures="$architectures" \
    --include="$MODULES_TOOLS,$compiler" --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --customize-hook="$extras.new/hook") ||
    die "$guest: $(tail -n 5 "$extras.new/log" 2>/dev/null)"
  plain_packages "$extras.new/out"
  printf '%s\n' "$MODULES_DEBS" >"$extras.new/out/packages"
  mv "$extras.new/out" "$extras"
  rm -rf "$extras.new"
  say "$suite $arch: modules made in $((SECONDS - begin)) s"
}

# build_script: what runs in the chroot: ARCH VERSION KERNEL_ARCH PREFIX PACKAGES; results go to /out.
build_script() {
  cat <<'BUILD'
set -e
arch=$1 version=$2 karch=$3 prefix=$4 packages=$5
options="-qq -o APT::Sandbox::User=root -o Acquire::Retries=3"
base=${version%%-*}
major=$(echo "$base" | cut -d. -f1,2)
package=$(apt-cache show "linux-headers-$version:$arch" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
if [ -z "$package" ]; then
  echo "the mirror has no headers of $version, the guest's kernel: remove the guest, and it is made anew"
  exit 1
fi
mkdir /out /work
cd /work
apt-get $options download "linux-headers-$version:$arch=$package" "linux-headers-$base-common=$package" \
  "linux-kbuild-$base:amd64=$package" "linux-source-$major=$package"
for file in linux-headers-*.deb linux-kbuild-*.deb linux-source-*.deb; do
  dpkg-deb -x "$file" /
done
tar --strip-components=1 -xf "/usr/src/linux-source-$major.tar.xz" --wildcards \
  '*/drivers/media/test-drivers/vicodec/*' '*/drivers/media/test-drivers/vim2m.c' '*/drivers/media/v4l2-core/v4l2-mem2mem.c'
mkdir modules
cd modules
cp ../drivers/media/test-drivers/vicodec/*.[ch] ../drivers/media/test-drivers/vim2m.c \
  ../drivers/media/v4l2-core/v4l2-mem2mem.c .
cat >Kbuild <<'KBUILD'
obj-m += vim2m.o vicodec.o
vicodec-objs := vicodec-core.o codec-fwht.o codec-v4l2-fwht.o
# amd64's kernel lacks it.
ifeq ($(CONFIG_V4L2_MEM2MEM_DEV),)
obj-m += v4l2-mem2mem.o
endif
KBUILD
make -s -C "/usr/src/linux-headers-$version" M="$PWD" ARCH="$karch" CROSS_COMPILE="$prefix" \
  CONFIG_DEBUG_INFO_BTF_MODULES= modules
cp ./*.ko /out/
# As the guest's apt would.
rm -f /var/cache/apt/archives/*.deb
apt-get $options -y --no-install-recommends --download-only -o Dir::State::status=/status -o "APT::Architecture=$arch" \
  -o "APT::Architectures=$arch" install $packages
cp /var/cache/apt/archives/*.deb /out/
BUILD
}

# load_script: what the guest does, in the folder with all that.
load_script() {
  cat <<'LOAD'
set -e
dpkg -i ./*.deb >dpkg.log 2>&1 || { cat dpkg.log; exit 1; }
# One vivid with nodes for pictures in and out and for metadata in and out, one with a multi-planar node.
modprobe vivid n_devs=2 node_types=0x60101,0x1 multiplanar=1,2
modprobe snd-aloop
for name in v4l2-mem2mem vim2m vicodec; do
  if [ -e "$name.ko" ]; then
    modprobe -qa $(modinfo -F depends "./$name.ko" | tr , ' ') || true
    insmod "./$name.ko"
  fi
done
LOAD
}
