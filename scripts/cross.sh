# shellcheck shell=bash
# What scripts/cross and scripts/test-cross share: the build environment, and how to run in it.
# Sourced after lib.sh, never run.
#
# The environment is a chroot of Debian trixie with its newest Rust (rustc-web), gcc's cross compilers, Rust's library for
# each target from the same build as that rustc, and bookworm's C library (2.36), so that no newer symbol can be linked.
# Packages of a target are unpacked only: no foreign code runs, no binfmt or emulator is needed. Paths inside are the
# same everywhere (/src, /cargo, /target), which is all that equal bytes need.

SUITE=trixie
LIBC=bookworm
LOCK=scripts/cross.lock
# 1.5 GB, shared by all builds below it; several checkouts may share one, too.
CACHE=${RILL_CROSS_CACHE:-$(target_dir)/cross}
TOOLS=ca-certificates,rustc-web,cargo-web,gcc,libc6-dev,gcc-arm-linux-gnueabihf,gcc-aarch64-linux-gnu,libclang1
UNPACKED=(
  libstd-rust-web-dev:armhf libstd-rust-web-dev:arm64
  "libc6-armhf-cross/$LIBC" "libc6-dev-armhf-cross/$LIBC" "linux-libc-dev-armhf-cross/$LIBC"
  "libc6-arm64-cross/$LIBC" "libc6-dev-arm64-cross/$LIBC" "linux-libc-dev-arm64-cross/$LIBC"
  "libc6-amd64-cross/$LIBC" "libc6-dev-amd64-cross/$LIBC" "linux-libc-dev-amd64-cross/$LIBC"
)

# cross_to ARCH: sets what the other functions ask for.
# shellcheck disable=SC2034 # by those who source this
cross_to() {
  arch=$1 flags=()
  case $arch in
    armv7) triple=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf emulator=qemu-arm-static ;;
    arm64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu emulator=qemu-aarch64-static ;;
    amd64)
      triple=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu emulator=
      # No cross compiler: it has to be told where the other C library is.
      flags=("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Clink-arg=-B/usr/$gnu/lib -Clink-arg=-L/usr/$gnu/lib"
        "CFLAGS_x86_64_unknown_linux_gnu=-isystem /usr/$gnu/include")
      ;;
    *) die "unknown architecture $arch; known are armv7, arm64 and amd64" ;;
  esac
  out=$(target_dir)/cross/$arch
  # One for all, since what runs while building is the same for all.
  build=$(target_dir)/cross/build
}

# need_cross locked|update: the environment as locked, made if it is missing or another one; or anew, and the lock
# follows it.
need_cross() {
  [ "$(id -u)" -eq 0 ] || die "this makes a chroot and mounts into it: run it as root"
  [ "$(dpkg --print-architecture)" = amd64 ] || die "cross builds start from an amd64 system"
  need unshare=util-linux flock=util-linux /etc/ssl/certs/ca-certificates.crt=ca-certificates
  mkdir -p "$CACHE"
  CACHE=$(realpath "$CACHE")
  root=$CACHE/root
  exec {held}>"$CACHE/held"
  hold --shared
  if [ "$1" = update ] || ! cmp -s "$root/packages" "$LOCK"; then
    hold --exclusive
    if [ "$1" = update ]; then
      make_root
      cp "$root.new/packages" "$LOCK"
    elif ! cmp -s "$root/packages" "$LOCK"; then
      make_root
      check_lock "$root.new/packages"
    fi
    if [ -e "$root.new" ]; then
      rm -rf "$root"
      mv "$root.new" "$root"
    fi
    hold --shared
  fi
}

# hold --shared|--exclusive: others may build beside us, but nobody takes the environment away.
hold() {
  flock --wait 7200 "$1" "$held" || die "$root has been in use for two hours"
}

# make_root: root.new from nothing, with a list of its packages.
make_root() {
  local begin=$SECONDS
  say "making the build environment (two minutes and 300 MB to download)"
  rm -rf "$root.new"
  cat >"$CACHE/hook" <<HOOK
#!/bin/sh
set -e
mkdir "\$1/debs" "\$1/src" "\$1/cargo" "\$1/target"
chroot "\$1" sh -ec 'cd /debs; apt-get -o APT::Sandbox::User=root -o Acquire::Retries=3 download -qq ${UNPACKED[*]}
  for deb in *.deb; do dpkg-deb -x "\$deb" /; done
  form=" \\\${Package} \\\${Architecture} \\\${Version}\\n"
  { dpkg-query -W -f "installed\$form"
    for deb in *.deb; do dpkg-deb -W --showformat "unpacked\$form" "\$deb"; done; } | LC_ALL=C sort >/packages'
rm -rf "\$1/debs" "\$1/var/lib/apt/lists" "\$1/usr/share/doc"
HOOK
  chmod +x "$CACHE/hook"
  make_debian 3600 "$SUITE" "$root.new" "deb $(debian_mirror) $LIBC main" --variant=apt --skip=check/qemu \
    --architectures=amd64,armhf,arm64 --include="$TOOLS" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook="$CACHE/hook"
  sed -i '1i # The build environment of scripts/cross: use, package, architecture, version. Made by --update-lock.' \
    "$root.new/packages"
  say "made in $((SECONDS - begin)) s, $(du -sh "$root.new" | cut -f 1)"
}

# check_lock FOUND: every package as locked, or a list of those that are not.
check_lock() {
  local differences
  differences=$(awk '
    /^#/ { next }
    { name = $1 " " $2 ":" $3; names[name] }
    FILENAME == ARGV[1] { locked[name] = $4; next }
    { found[name] = $4 }
    END {
      for (name in names) {
        was = name in locked ? locked[name] : "nothing"
        is = name in found ? found[name] : "nothing"
        if (was != is) printf "  %s: locked %s, found %s\n", name, was, is
      }
    }' "$LOCK" "$1" | sort)
  [ -z "$differences" ] || die "the mirror's packages are not those of $LOCK:
$differences
Take them with: scripts/cross --update-lock, then commit $LOCK; the same sources will give other bytes"
}

# inside COMMAND...: runs in the environment, with the checkout as /src (read-only) and cargo's results as /target.
inside() {
  local upper=${triple^^}
  mkdir -p "$out" "$build" "$CACHE/cargo"
  # The network and the certificates are the host's.
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  # shellcheck disable=SC2016 # the inner shell expands this
  unshare --mount --pid --fork --kill-child sh -ec '
    root=$1
    mount --bind "$2" "$root/src"
    mount -o remount,bind,ro "$root/src"
    mount --bind "$3" "$root/target"
    mount --bind "$4" "$root/cargo"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    mount --bind /dev "$root/dev"
    shift 4
    exec chroot "$root" /usr/bin/env -i "$@"' sh "$root" "$PWD" "$(realpath "$build")" "$CACHE/cargo" \
    PATH=/usr/bin:/bin HOME=/tmp LC_ALL=C.UTF-8 CARGO_HOME=/cargo CARGO_TARGET_DIR=/target SOURCE_DATE_EPOCH=0 \
    CARGO_NET_RETRY=5 ${CARGO_BUILD_JOBS:+"CARGO_BUILD_JOBS=$CARGO_BUILD_JOBS"} \
    ${https_proxy:+"https_proxy=$https_proxy"} \
    "CARGO_TARGET_${upper//-/_}_LINKER=$gnu-gcc" "${flags[@]}" \
    "BINDGEN_EXTRA_CLANG_ARGS_${triple//-/_}=--target=$gnu -I/usr/$gnu/include" \
    "CC_${triple//-/_}=$gnu-gcc" "AR_${triple//-/_}=$gnu-ar" \
    timeout 7200 "$@"
}
