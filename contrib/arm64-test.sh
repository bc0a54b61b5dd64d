#!/usr/bin/env bash
# Installs and tests CrowdStream on an emulated 64-bit ARM machine, the Raspberry Pi's kind.
set -euo pipefail

self=$(readlink -f -- "${BASH_SOURCE[0]}")
project=${self%/contrib/*}
# shellcheck source=contrib/install.sh
. "$project/contrib/install.sh"

usage() {
    cat <<'END'
Usage: sudo contrib/arm64-test.sh [FOLDER]

Makes an arm64 Debian 12 in FOLDER (once; default: crowdstream/arm64-root in the user's
cache folder, about 2 GB), clones the last commit of this project into it and runs there:

  ./start-crowdstream.sh --install-only
  ./run-tests.sh --device-free

Package sources, proxy, pip configuration and certificates are this machine's own. It runs
at the lowest priority and changes nothing outside of FOLDER, except that the packages for
emulation are installed if they are missing.
END
}

case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
esac
[ "$(id -u)" -eq 0 ] || fail "only root can make another root folder; use: sudo $0 $*"
suite=bookworm
root=$(readlink -m -- "${1:-${XDG_CACHE_HOME:-$HOME/.cache}/crowdstream/arm64-root}")
inside=/root/crowdstream

# Lets the kernel start arm64 programs through the emulator.
enable_emulation() {
    [ "$(uname -m)" != aarch64 ] || return 0
    local register=/proc/sys/fs/binfmt_misc
    [ -e $register/register ] || mount -t binfmt_misc binfmt_misc $register ||
        fail "the kernel has no binfmt_misc, without which arm64 programs can't be started."
    [ -e $register/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
}

# The archive that this machine itself uses, so that a mirror is used where one is set up.
debian_mirror() {
    # The variable is apt's, not the shell's.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' \
        'Component: main' 2>/dev/null | head -n 1
}

# The mark is written last, so that an interrupted installation is made anew.
make_root() {
    [ ! -e "$root/etc/crowdstream-root" ] || return 0
    if [ -e "$root" ]; then
        # Never delete a folder that something else has made.
        [ -z "$(ls -A "$root")" ] || [ -e "$root/debootstrap" ] || [ -e "$root/.crowdstream" ] ||
            fail "$root holds something else; name another folder."
        rm -rf --one-file-system -- "$root"
    fi
    mkdir -p "$root"
    : >"$root/.crowdstream"
    say "installing arm64 Debian 12 in $root (some minutes)"
    local mirror
    mirror=$(debian_mirror)
    nice -n 19 debootstrap --arch=arm64 --variant=minbase --include=ca-certificates \
        "$suite" "$root" ${mirror:+"$mirror"} ||
        fail "debootstrap failed; $root/debootstrap/debootstrap.log says why."
    : >"$root/etc/crowdstream-root"
}

# Names of variables that say where and how packages are fetched.
network_variables() {
    compgen -e | grep -E '^(PIP_.*|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE)$' || true
    compgen -e | grep -iE '^(https?|ftp|all|no)_proxy$' || true
}

# Gives the root this machine's way to the network, each time, as it may have changed.
copy_network() {
    local file variable codename
    codename=$(. /etc/os-release && printf '%s' "${ID:-} ${VERSION_CODENAME:-}")
    if [ "$codename" = "debian $suite" ]; then
        rm -f "$root/etc/apt/sources.list"
        [ ! -e /etc/apt/sources.list ] || cp /etc/apt/sources.list "$root/etc/apt/"
        for file in /etc/apt/sources.list.d/*.{list,sources}; do
            [ ! -e "$file" ] || cp "$file" "$root/etc/apt/sources.list.d/"
        done
    fi
    # Only how apt fetches; this machine's hooks call programs that the root has not.
    apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/90host" || true
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
    for file in ~/.config/pip/pip.conf ~/.pip/pip.conf; do
        [ ! -e "$file" ] || install -D -m 600 "$file" "$root/root/.config/pip/pip.conf"
    done
    file=/etc/ssl/certs/ca-certificates.crt
    [ ! -e $file ] || install -D -m 644 $file "$root$file"
    for variable in PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE; do
        file=${!variable:-}
        [ ! -f "$file" ] || install -D -m 644 "$file" "$root$file"
    done
}

# The last commit, as a newcomer would get it. What pip and numba cached inside is kept.
copy_project() {
    local config
    config=$(mktemp)
    # The project belongs to whoever works on it, and git is wary of that when run as root.
    git config --file "$config" safe.directory '*'
    rm -rf -- "${root:?}$inside"
    GIT_CONFIG_GLOBAL=$config git clone --quiet --no-hardlinks "$project" "$root$inside"
    rm -f -- "$config"
}

# Runs a command inside. All mounts are in a name space of their own and all processes under
# one parent: both are gone when this ends, however it ends.
in_root() { # command
    local variables=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}")
    local name
    while read -r name; do
        variables+=("$name=${!name}")
    done < <(network_variables)
    # Emulation is about ten times slower than the tests' time limits expect.
    variables+=(PYTEST_ADDOPTS=--timeout=1800)
    # shellcheck disable=SC2016
    nice -n 19 unshare --mount --pid --fork --kill-child sh -euc '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mount -t sysfs -o ro sysfs "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        exec chroot "$root" "$@"' sh "$root" env -i "${variables[@]}" "$@"
}

has debootstrap || need debootstrap "makes a Debian of another kind of machine"
if [ "$(uname -m)" != aarch64 ]; then
    has qemu-aarch64-static || need qemu-user-static "runs arm64 programs"
    has update-binfmts || need binfmt-support "tells the kernel to use it for them"
fi
has git || need git "clones the project"
install_packages

enable_emulation
make_root
copy_network
copy_project
say "installing and testing inside"
SECONDS=0
in_root bash -euc "
    cd $inside
    ./start-crowdstream.sh --install-only
    ./run-tests.sh --device-free"
say "installed and tested on arm64 in $SECONDS s"
