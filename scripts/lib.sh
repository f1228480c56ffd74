# shellcheck shell=bash
# What the scripts share: messages, packages of a fresh Debian 12, a Rust that is new enough.
# Sourced, never run. Every function only adds what is missing, so a second run changes nothing.

say() { printf '== %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root and there is no sudo; as root run: $*"
  fi
}

apt_updated=

# one_apt COMMAND...: scripts that run beside each other take turns.
one_apt() {
  (
    flock --wait 1800 9 || die "another installation has been running for half an hour"
    "$@"
  ) 9>"${TMPDIR:-/tmp}/rill-apt-$(id -u)"
}

apt_update() {
  [ -z "$apt_updated" ] || return 0
  command -v apt-get >/dev/null || die "no apt-get here; install by hand: $*"
  say "reading the package lists"
  one_apt as_root apt-get update -qq
  apt_updated=yes
}

# apt_install PACKAGE...
apt_install() {
  apt_update "$@"
  say "installing $*"
  local output
  output=$(one_apt as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" 2>&1) ||
    die "$output"
}

# need WITNESS=PACKAGE...: installs the packages whose witness, a command or an absolute path, is missing.
need() {
  local pair witness missing=()
  for pair in "$@"; do
    witness=${pair%%=*}
    if [[ $witness == /* ]]; then
      [ -e "$witness" ] || missing+=("${pair#*=}")
    else
      command -v "$witness" >/dev/null || missing+=("${pair#*=}")
    fi
  done
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
}

# debian_mirror: where this machine's apt finds Debian.
debian_mirror() {
  local targets mirror
  # shellcheck disable=SC2016 # apt expands this
  targets=$(apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages')
  mirror=$(sed -n 's/^Debian|//p' <<<"$targets" | sed -n 1p)
  [ -n "$mirror" ] || die "apt knows no Debian mirror here"
  printf '%s\n' "$mirror"
}

# make_debian SECONDS SUITE FOLDER OPTION|SOURCE...: a Debian from this machine's mirror, without recommended packages. Its
# mounts end with their namespace, whatever happens.
make_debian() {
  local limit=$1 suite=$2 folder=$3 mirror
  shift 3
  need mmdebstrap=mmdebstrap unshare=util-linux /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
  mirror=$(debian_mirror)
  unshare --mount timeout "$limit" mmdebstrap --quiet --mode=root --aptopt='Acquire::Languages "none"' \
    --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"' \
    "$suite" "$folder" "deb $mirror $suite main" "$@" || die "mmdebstrap failed"
}

# at_least VERSION MINIMUM
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# rust_at_least MINIMUM: whether cargo and rustc in PATH are new enough.
rust_at_least() {
  local tool version
  for tool in cargo rustc; do
    version=$("$tool" --version 2>/dev/null) || return 1
    version=${version#* }
    at_least "${version%%[ -]*}" "$1" || return 1
  done
}

# Takes Rust from PATH if it is new enough, else from Debian, else says how to get it.
need_rust() {
  local minimum candidate
  minimum=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  rust_at_least "$minimum" && return 0
  # An older toolchain in PATH must not hide Debian's.
  if PATH="/usr/bin:$PATH" rust_at_least "$minimum"; then
    export PATH="/usr/bin:$PATH"
    return 0
  fi
  if command -v apt-get >/dev/null; then
    apt_update cargo rustc
    candidate=$(apt-cache policy cargo-web | sed -n 's/^ *Candidate: //p')
    if [ -n "$candidate" ] && at_least "${candidate%%[+-]*}" "$minimum"; then
      apt_install cargo-web rustc-web
      export PATH="/usr/bin:$PATH"
      rust_at_least "$minimum" && return 0
    fi
  fi
  die "Rust $minimum or newer is needed and Debian has none here. The official way:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
then open a new shell and run this again"
}

# need_cargo_tool SUBCOMMAND DEBIAN_PACKAGE RUSTUP_COMPONENT
need_cargo_tool() {
  cargo "$1" --version >/dev/null 2>&1 && return 0
  if [ "$(command -v cargo)" = /usr/bin/cargo ]; then
    apt_install "$2"
  elif command -v rustup >/dev/null; then
    say "installing $3"
    rustup --quiet component add "$3"
  fi
  cargo "$1" --version >/dev/null 2>&1 || die "cargo $1 is missing; install $3 beside your Rust"
}

# has_libclang: whether bindgen will find it; its file carries a version.
has_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm-*/lib/libclang[.-][0-9s]*' >/dev/null ||
    compgen -G '/usr/lib/*/libclang[.-][0-9s]*' >/dev/null
}

# What a build needs on a fresh system. libclang reads the kernel's video header for the crate v4l.
need_build() {
  need cc=gcc /usr/include/stdio.h=libc6-dev /etc/ssl/certs/ca-certificates.crt=ca-certificates
  has_libclang || apt_install libclang1
  need_rust
}

# target_dir: where cargo puts its results.
target_dir() {
  printf '%s\n' "${CARGO_TARGET_DIR:-target}"
}

# is_listening PORT: whether something accepts connections on the loopback address.
is_listening() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# wait_until SECONDS COMMAND...: repeats the command until it succeeds.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}
