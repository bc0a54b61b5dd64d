#!/usr/bin/env bash
# Installs and tests CrowdStream in a minimal Debian, of another release or processor if wished.
set -euo pipefail

self=$(readlink -f -- "${BASH_SOURCE[0]}")
project=${self%/contrib/*}
# shellcheck source=contrib/install.sh
. "$project/contrib/install.sh"

usage() {
    cat <<'END'
Usage: sudo contrib/debian-test.sh [options] [--] [arguments of run-tests.sh]

Makes a minimal Debian in a folder (once; 1 to 3 GB), clones the last commit of this project into
it and runs the README's two commands there:

  ./start-crowdstream.sh --demo --seconds 8
  ./run-tests.sh [arguments]             by default every test; `unit static` for two tiers

  --suite SUITE    the Debian release, for example bookworm (default), trixie or sid
  --arch ARCH      the processor, for example arm64 (default: this machine's). Another one than
                   this machine's is emulated, about ten times slower.
  --oldest         install the oldest versions of Python packages that the requirements allow,
                   instead of the newest
  --user           run both commands as an ordinary user without sudo. The server's own system
                   packages are installed beforehand; those of the system and browser tiers must
                   be there from an earlier run without this option.
  --clone-to PATH  the path of the clone inside, from / on (default: crowdstream in the home
                   folder), for example '/srv/Müsik dj/crowd stream'
  --root FOLDER    where the Debian lies (default: crowdstream/debian-SUITE-ARCH in the user's
                   cache folder)

Package sources, proxy, pip configuration and certificates are this machine's own. All runs at the
lowest priority and changes nothing outside of FOLDER, except that debootstrap, git and the
packages for emulation are installed if they are missing.
END
}

suite=bookworm arch='' oldest='' user=root root='' inside=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --suite=* | --arch=* | --clone-to=* | --root=*)
        set -- "${1%%=*}" "${1#*=}" "${@:2}"
        continue
        ;;
    --suite | --arch | --clone-to | --root)
        [ -n "${2:-}" ] || fail "$1 needs a value; see $0 --help"
        case $1 in
        --suite) suite=$2 ;;
        --arch) arch=$2 ;;
        --clone-to) inside=$2 ;;
        --root) root=$2 ;;
        esac
        shift
        ;;
    --oldest) oldest=yes ;;
    --user) user=crowd ;;
    --)
        shift
        break
        ;;
    *) break ;;
    esac
    shift
done
[ "$(id -u)" -eq 0 ] || fail "only root can make another root folder; use: sudo $0"
has dpkg || fail "this needs a Debian or a system made from it: there is no dpkg here."
machine=$(dpkg --print-architecture)
arch=${arch:-$machine}
root=$(readlink -m -- "${root:-${XDG_CACHE_HOME:-$HOME/.cache}/crowdstream/debian-$suite-$arch}")
home=/root
[ "$user" = root ] || home=/home/$user
inside=${inside:-$home/crowdstream}
[[ $inside = /*/* && $inside/ != */../* ]] ||
    fail "--clone-to needs a path from / on with at least two folders, not $inside"

# The name by which the emulator calls a processor; empty where none is needed.
emulator() {
    case $machine/$arch in
    "$arch/$machine" | amd64/i386) ;;
    */arm64) echo qemu-aarch64 ;;
    */amd64) echo qemu-x86_64 ;;
    */ppc64el) echo qemu-ppc64le ;;
    *) echo "qemu-$arch" ;;
    esac
}
emulator=$(emulator)

# Lets the kernel start programs of the other processor through the emulator.
enable_emulation() {
    [ -n "$emulator" ] || return 0
    local register=/proc/sys/fs/binfmt_misc
    [ -e $register/register ] || mount -t binfmt_misc binfmt_misc $register ||
        fail "the kernel has no binfmt_misc, without which $arch programs can't be started."
    [ -e "$register/$emulator" ] || update-binfmts --enable "$emulator" ||
        fail "$arch can't be emulated on this machine; see the message above."
}

# The archive that this machine itself uses, so that a mirror is used where one is set up.
debian_mirror() {
    # The variable is apt's, not the shell's.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' \
        'Component: main' 2>/dev/null | head -n 1
}
mirror=$(debian_mirror)

# The mark is written last, so that an interrupted installation starts again from the beginning.
make_root() {
    local mark=$root/etc/crowdstream-root
    if [ -e "$mark" ]; then
        [ "$(<"$mark")" = "$suite $arch" ] ||
            fail "$root holds another Debian than $suite $arch; name another folder with --root."
        return 0
    fi
    if [ -e "$root" ]; then
        # Never delete a folder that something else has made.
        [ -z "$(ls -A "$root")" ] || [ -e "$root/debootstrap" ] || [ -e "$root/.crowdstream" ] ||
            fail "$root holds something else; name another folder with --root."
        rm -rf --one-file-system -- "$root"
    fi
    mkdir -p "$root"
    : >"$root/.crowdstream"
    say "installing Debian $suite for $arch in $root (some minutes)"
    local script=
    # debootstrap has a script for each release that it knew; newer ones install like the newest.
    [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=/usr/share/debootstrap/scripts/sid
    nice -n 19 debootstrap --arch="$arch" --variant=minbase --include=ca-certificates \
        "$suite" "$root" ${mirror:+"$mirror"} ${script:+"$script"} ||
        fail "debootstrap failed; $root/debootstrap/debootstrap.log says why."
    echo "$suite $arch" >"$mark"
}

# Names of variables that say where and how packages are fetched.
network_variables() {
    compgen -e | grep -E '^(PIP_.*|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE)$' || true
    compgen -e | grep -iE '^(https?|ftp|all|no)_proxy$' || true
}

# Gives the root this machine's way to the network, each time, as it may have changed.
copy_network() {
    local file variable
    [ -z "$mirror" ] || echo "deb $mirror $suite main" >"$root/etc/apt/sources.list"
    # Only how apt fetches; this machine's hooks call programs that the root has not.
    apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/90host" || true
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    # Local folders that pip's configuration names need not exist inside: pip passes over them.
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
    for file in ~/.config/pip/pip.conf ~/.pip/pip.conf; do
        [ ! -e "$file" ] || install -D -m 600 "$file" "$root$home/.config/pip/pip.conf"
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
    [ ! -e "$root$inside" ] || [ -e "$root$inside/.git" ] ||
        fail "$inside inside is no clone; name another path with --clone-to."
    config=$(mktemp)
    # The project belongs to whoever works on it, and git is wary of that when run as root.
    git config --file "$config" safe.directory '*'
    rm -rf -- "${root:?}$inside"
    mkdir -p -- "$root${inside%/*}"
    GIT_CONFIG_GLOBAL=$config git clone --quiet --no-hardlinks "$project" "$root$inside"
    rm -f -- "$config"
}

# A constraints file for pip from requirements: each lower bound becomes the only version, with
# the environment marker that follows it. Packages without a bound are not constrained.
oldest_versions() { # requirement files
    sed -nE 's/[[:space:]]*(#.*)?$//
        s/^([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^]]*])?[[:space:]]*>=[[:space:]]*([0-9][^,;[:space:]]*)[^;]*(;.*)?$/\1==\3\4/p' "$@"
}

# Runs a command inside as root. All mounts are in a name space of their own and all processes
# under one parent: both are gone when this ends, however it ends.
in_root() { # command
    local name
    local variables=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}")
    while read -r name; do
        variables+=("$name=${!name}")
    done < <(network_variables)
    [ -z "$oldest" ] || variables+=(PIP_CONSTRAINT=/etc/crowdstream-oldest.txt)
    # Emulation is about ten times slower than the tests' time limits expect.
    [ -z "$emulator" ] || variables+=(PYTEST_ADDOPTS=--timeout=1800)
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

# The user, and what only root can install for it.
make_user() {
    [ "$user" != root ] || return 0
    # The variable is bash's inside.
    # shellcheck disable=SC2016
    in_root bash -euc '
        id "$1" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$1"
        project=$2
        . "$project/contrib/install.sh"
        find_python
        find_build_tools
        install_packages
        chown -R "$1:" "$3" "$2"' bash "$user" "$inside" "$home"
}

as_user() { # command
    if [ "$user" = root ]; then
        in_root "$@"
    else
        in_root runuser -u "$user" -- env HOME="$home" USER="$user" LOGNAME="$user" \
            PATH=/usr/local/bin:/usr/bin:/bin "$@"
    fi
}

has debootstrap || need debootstrap "installs a minimal Debian"
if [ -n "$emulator" ]; then
    has "$emulator-static" || need qemu-user-static "runs $arch programs"
    has update-binfmts || need binfmt-support "tells the kernel to use it for them"
fi
has git || need git "clones the project"
install_packages

enable_emulation
make_root
copy_network
copy_project
if [ -n "$oldest" ]; then
    oldest_versions "$root$inside"/{,tests/,tests/*/}requirements.txt >"$root/etc/crowdstream-oldest.txt"
fi
make_user
say "installing and testing in Debian $suite for $arch${oldest:+, oldest versions}, as $user, in $inside"
SECONDS=0
# The variables are those of the shell inside.
# shellcheck disable=SC2016
as_user bash -euc '
    cd "$1"
    shift
    ./start-crowdstream.sh --demo --seconds 8
    ./run-tests.sh "$@"' bash "$inside" "$@"
say "installed and tested in $SECONDS s"
