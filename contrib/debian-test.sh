#!/usr/bin/env bash
# Installs and tests CrowdStream in a minimal Debian, optionally of another release or architecture.
set -euo pipefail

self=$(readlink -f -- "${BASH_SOURCE[0]}")
project=${self%/contrib/*}
# shellcheck source=contrib/install.sh
. "$project/contrib/install.sh"

usage() {
    cat <<'END'
Usage: sudo contrib/debian-test.sh [options] [--] [arguments of run-tests.sh]

Creates a minimal Debian in a folder (once; 1 to 3 GB), clones the last commit of this project into
it and runs the README's two commands there:

  ./start-crowdstream.sh --demo --duration 8
  ./run-tests.sh [arguments]             by default every test; `unit static` for two tiers

  --suite SUITE    the Debian release, for example bookworm (default), trixie or sid
  --arch ARCH      the architecture, for example arm64 (default: this machine's). Another
                   architecture is emulated, about ten times slower.
  --oldest         install the oldest versions of Python packages that the requirements allow,
                   instead of the newest
  --user           run both commands as an ordinary user without sudo. The server's own system
                   packages are installed beforehand; those of the system and browser tiers must
                   have been installed by an earlier run without this option.
  --clone-to PATH  the absolute path of the clone inside (default: crowdstream in the home
                   folder), for example '/srv/Müsik dj/crowd stream'
  --root FOLDER    the folder of the Debian (default: crowdstream/debian-SUITE-ARCH in the user's
                   cache folder)

Package sources, proxy, pip configuration and certificates are those of this machine. Everything
runs at the lowest priority and changes nothing outside FOLDER, except that debootstrap, git and
the packages for emulation are installed if they are missing.
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
[ "$(id -u)" -eq 0 ] || fail "only root can create another root folder; use: sudo $0"
has dpkg || fail "this needs Debian or a derivative: there is no dpkg here."
machine=$(dpkg --print-architecture)
arch=${arch:-$machine}
root=$(readlink -m -- "${root:-${XDG_CACHE_HOME:-$HOME/.cache}/crowdstream/debian-$suite-$arch}")
home=/root
[ "$user" = root ] || home=/home/$user
inside=${inside:-$home/crowdstream}
[[ $inside = /*/* && $inside/ != */../* ]] ||
    fail "--clone-to needs an absolute path with at least two folders, not $inside"

# The emulator's name of an architecture; empty if none is needed.
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

# Makes the kernel run programs of the other architecture through the emulator.
enable_emulation() {
    [ -n "$emulator" ] || return 0
    local register=/proc/sys/fs/binfmt_misc
    [ -e $register/register ] || mount -t binfmt_misc binfmt_misc $register ||
        fail "the kernel has no binfmt_misc, which is required to run $arch programs."
    [ -e "$register/$emulator" ] || update-binfmts --enable "$emulator" ||
        fail "$arch can't be emulated on this machine; see the message above."
}

# The archive that this machine itself uses, so that a configured mirror is used.
debian_mirror() {
    # The variable is apt's, not the shell's.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' \
        'Component: main' 2>/dev/null | head -n 1
}
mirror=$(debian_mirror)

# The marker is written last, so that an interrupted installation starts from the beginning.
make_root() {
    local mark=$root/etc/crowdstream-root
    if [ -e "$mark" ]; then
        [ "$(<"$mark")" = "$suite $arch" ] ||
            fail "$root contains another Debian than $suite $arch; choose another folder with --root."
        return 0
    fi
    if [ -e "$root" ]; then
        # Never delete a folder that another program has created.
        [ -z "$(ls -A "$root")" ] || [ -e "$root/debootstrap" ] || [ -e "$root/.crowdstream" ] ||
            fail "$root contains other files; choose another folder with --root."
        rm -rf --one-file-system -- "$root"
    fi
    mkdir -p "$root"
    : >"$root/.crowdstream"
    say "installing Debian $suite for $arch in $root (some minutes)"
    local script=
    # debootstrap has a script for each release it knows; newer releases install like the newest.
    [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=/usr/share/debootstrap/scripts/sid
    nice -n 19 debootstrap --arch="$arch" --variant=minbase --include=ca-certificates \
        "$suite" "$root" ${mirror:+"$mirror"} ${script:+"$script"} ||
        fail "debootstrap failed; see $root/debootstrap/debootstrap.log."
    echo "$suite $arch" >"$mark"
}

# Names of variables that determine where and how packages are downloaded.
network_variables() {
    compgen -e | grep -E '^(PIP_.*|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE)$' || true
    compgen -e | grep -iE '^(https?|ftp|all|no)_proxy$' || true
}

# Copies this machine's network configuration into the root each time, because it may have changed.
copy_network() {
    local file variable
    [ -z "$mirror" ] || echo "deb $mirror $suite main" >"$root/etc/apt/sources.list"
    # Only the download settings; this machine's hooks call programs that are missing in the root.
    apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/90host" || true
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    # Local folders in pip's configuration need not exist inside: pip ignores missing ones.
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

# Clones the last commit, as a new user would get it. Cached files of pip and numba are kept.
copy_project() {
    local config
    [ ! -e "$root$inside" ] || [ -e "$root$inside/.git" ] ||
        fail "$inside inside is not a clone; choose another path with --clone-to."
    config=$(mktemp)
    # The project may belong to another user, which git rejects when run as root.
    git config --file "$config" safe.directory '*'
    rm -rf -- "${root:?}$inside"
    mkdir -p -- "$root${inside%/*}"
    GIT_CONFIG_GLOBAL=$config git clone --quiet --no-hardlinks "$project" "$root$inside"
    rm -f -- "$config"
}

# Creates a constraints file for pip from requirements: each lower bound becomes the only version,
# with the environment marker that follows it. Packages without a bound are not constrained.
oldest_versions() { # requirement files
    sed -nE 's/[[:space:]]*(#.*)?$//
        s/^([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^]]*])?[[:space:]]*>=[[:space:]]*([0-9][^,;[:space:]]*)[^;]*(;.*)?$/\1==\3\4/p' "$@"
}

# Runs a command inside as root. All mounts are in their own namespace and all processes have one
# parent: both disappear when this ends, however it ends.
in_root() { # command
    local name
    local variables=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}")
    while read -r name; do
        variables+=("$name=${!name}")
    done < <(network_variables)
    [ -z "$oldest" ] || variables+=(PIP_CONSTRAINT=/etc/crowdstream-oldest.txt)
    # Emulation is about ten times slower than the tests' timeouts expect.
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

# Creates the user, and installs what only root can install.
make_user() {
    [ "$user" != root ] || return 0
    # The variable belongs to the bash inside.
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
    has update-binfmts || need binfmt-support "registers it with the kernel"
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
# The variables belong to the shell inside.
# shellcheck disable=SC2016
as_user bash -euc '
    cd "$1"
    shift
    ./start-crowdstream.sh --demo --duration 8
    ./run-tests.sh "$@"' bash "$inside" "$@"
say "installed and tested in $SECONDS s"
