# shellcheck shell=bash
# What start-crowdstream.sh and run-tests.sh share: find what is missing, say it, install it.
# To be sourced, with $project set to the project's folder. Everything from the package
# index goes into the project's own .venv/; only what has to be compiled against or run as a
# program comes from the system's packages.

: "${project:?contrib/install.sh is sourced by the scripts that set project}"
venv=$project/.venv
# There while pip is at work: a package it was interrupted in may look complete to the next
# pip, so what such a run left is not used.
unfinished=$venv/.unfinished
server_files=("$project/requirements.txt" "$project/requirements.lock" "$project/pyproject.toml")

# System packages found missing, filled by need().
packages=()
reasons=()

say() { printf 'crowdstream: %s\n' "$*"; }

fail() {
    printf 'crowdstream: %s\n' "$@" >&2
    exit 1
}

need() { # package, what for
    packages+=("$1")
    reasons+=("$2")
}

has() { command -v "$1" >/dev/null 2>&1; }

# How somebody here runs a command as root: sets $root_command to it, with what has to stand before
# it. Without sudo nothing may recommend it, and root needs nothing.
as_root_text() { # command
    root_command=$1
    [ "$(id -u)" -ne 0 ] || return 0
    if has sudo; then
        root_command="sudo ${1//"&& "/"&& sudo "}"
    else
        root_command="su -c '$1'"
    fi
}

# --- what is installed already ----------------------------------------------------------

# Prints a text that changes whenever an installation has to be looked at again: other
# requirements, other Python, other machine, project moved. Only two short programs run, so
# that an installed server starts at once.
fingerprint() { # requirement files
    local python
    python=$(readlink -f "$venv/bin/python" 2>/dev/null) || python=none
    printf '%s\n' "project $project" "machine $MACHTYPE" "python $python"
    cat -- "$@" | sha256sum
}

installed() { # stamp name, requirement files
    local stamp=$venv/.installed-$1
    shift
    [ -f "$stamp" ] && [ ! -e "$unfinished" ] && [ -x "$venv/bin/python" ] &&
        [ "$(<"$stamp")" = "$(fingerprint "$@")" ]
}

# The stamp is the last thing an installation writes.
stamp() { # stamp name, requirement files
    local stamp=$venv/.installed-$1
    shift
    fingerprint "$@" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

# Two scripts started at the same time must not fill the same .venv/. The lock is the
# project's folder itself and ends with the script, however it ends.
lock() {
    has flock || return 0
    exec 9<"$project"
    flock --nonblock 9 && return
    say "another installation is running here; waiting for it"
    flock 9
}

unlock() { exec 9<&-; }

# --- system packages --------------------------------------------------------------------

# Prints what a Python lacks to make the .venv/ and build PyAudio; fails if it does not run.
python_lacks() { # python
    "$1" -c '
import os, sys, sysconfig
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    print("version")
try:
    import ensurepip, venv
except ImportError:
    print("venv")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("headers")
' 2>/dev/null
}

# Sets $python to the first Python that lacks nothing. Any will do: a version manager's
# needs no system packages. If there is none, the system's own is completed.
find_python() {
    local candidate lacks
    python=/usr/bin/python3
    for candidate in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if has "$candidate" && lacks=$(python_lacks "$candidate") && [ -z "$lacks" ]; then
            python=$candidate
            return
        fi
    done
    if ! has "$python"; then
        need python3 "runs the server"
        need python3-venv "makes the project's own Python environment, .venv/"
        need python3-dev "Python's C headers, to build PyAudio"
        return
    fi
    lacks=$(python_lacks "$python") || lacks="venv headers"
    case $lacks in *version*)
        fail "Python 3.11 to 3.14 is needed (numba publishes no other), and $python is" \
            "$("$python" --version). Debian 12 and Raspberry Pi OS (bookworm) bring 3.11; any" \
            "that stands in PATH, as python3 or python3.11 to python3.14, is used."
        ;;
    esac
    case $lacks in *venv*)
        need python3-venv "makes the project's own Python environment, .venv/" ;;
    esac
    case $lacks in *headers*)
        need python3-dev "Python's C headers, to build PyAudio" ;;
    esac
}

# PyAudio is built here, because its authors publish no compiled package for Linux. Tried
# rather than looked up: a compiler or a PortAudio of the user's own counts.
find_build_tools() {
    local compiler=${CC:-gcc}
    # CC may carry options of its own, so it is split into words.
    # shellcheck disable=SC2086
    if ! printf '#include <stdio.h>\n' | $compiler -E -x c - >/dev/null 2>&1; then
        need gcc "compiles PyAudio, which has no compiled package for Linux"
        need libc6-dev "C headers for the compiler"
        [ -e /usr/include/portaudio.h ] || need portaudio19-dev "PortAudio, the way to sound cards"
    elif ! printf '#include <portaudio.h>\n' | $compiler ${CFLAGS:-} -E -x c - >/dev/null 2>&1; then
        need portaudio19-dev "PortAudio, the way to sound cards"
    fi
}

# Installs what need() collected, as root or through sudo; says the command and stops where
# neither is possible.
install_packages() {
    [ ${#packages[@]} -gt 0 ] || return 0
    local i as_root=()
    local command="apt-get install -y --no-install-recommends ${packages[*]}" root_command
    say "these system packages are missing:"
    for i in "${!packages[@]}"; do
        printf '    %-20s %s\n' "${packages[i]}" "${reasons[i]}"
    done
    has apt-get || fail "there is no apt-get here; install them with this system's own package" \
        "manager (their names may differ), then start this script again."
    # A fresh system knows no packages yet; an old list names files that are gone.
    local known=yes
    apt-get -s install "${packages[@]}" >/dev/null 2>&1 || known=
    [ -n "$known" ] || command="apt-get update && $command"
    if [ "$(id -u)" -ne 0 ]; then
        # Without a terminal sudo could not ask for a password and would only fail later.
        if has sudo && { sudo -n true 2>/dev/null || { : </dev/tty; } 2>/dev/null; }; then
            as_root=(sudo)
        else
            local why="not root, and no sudo"
            ! has sudo || why+=" without a password"
            as_root_text "$command"
            fail "they can't be installed from here: $why." \
                "Run this, then start this script again:" "    $root_command"
        fi
    fi
    as_root_text "$command"
    say "installing them: $root_command"
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    if [ -n "$known" ] && apt_install; then
        return
    fi
    say "refreshing the list of packages"
    "${as_root[@]}" update || fail "apt-get update failed; see its message above."
    as_root_text "dpkg --configure -a"
    apt_install || fail "apt-get could not install ${packages[*]}; see its message above." \
        "If a package manager was interrupted earlier: $root_command"
}

apt_install() { # uses as_root of install_packages
    "${as_root[@]}" install -y --no-install-recommends "${packages[@]}"
}

# --- the virtual environment ------------------------------------------------------------

# True if .venv/ is whole, has a Python that fits, and was made at this place (its commands
# name it).
venv_usable() {
    [ -x "$venv/bin/python" ] && [ ! -e "$unfinished" ] && grep -qF -- "$venv" "$venv/bin/activate" 2>/dev/null &&
        "$venv/bin/python" -c '
import sys, pip
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14) or sys.prefix == sys.base_prefix)' 2>/dev/null
}

# Stops where .venv/ or the folder for it belongs to another user: it can be neither changed nor
# made again, and it is theirs.
check_owner() {
    local place=$venv
    [ -e "$venv" ] || place=$project
    [ -w "$place" ] && [ -x "$place" ] && [ "$(id -u)" -ne 0 ] && return
    local owner
    owner=$(stat -c %U -- "$place")
    if [ "$(id -u)" -eq 0 ]; then
        # Root may, but would leave files that their owner can't change.
        [ "$place" = "$venv" ] && [ "$(stat -c %u -- "$venv")" -ne 0 ] || return 0
    fi
    local script command
    script=$(readlink -f -- "${BASH_SOURCE[-1]}")
    printf -v command '%q --install-only' "$script"
    if [ "$(id -u)" -eq 0 ]; then
        command="runuser -u $owner -- $command"
    elif has sudo; then
        command="sudo -u $owner $command"
    else
        printf -v command 'su %s -c %q' "$owner" "$command"
    fi
    fail "$place belongs to $owner, and this is $(id -un): nothing was changed. Have $owner" \
        "install or update it, or copy the project to a folder of your own:" "    $command"
}

make_venv() { # uses $python
    venv_usable && return
    if [ -e "$venv" ]; then
        say "$venv is unfinished or of another machine or Python: making it anew"
        rm -rf -- "$venv"
    fi
    say "making the Python environment .venv/ with $("$python" --version)"
    "$python" -m venv "$venv" || fail "$python could not make $venv; see its message above."
}

# The user's own pip configuration holds, except that `user = true` has no meaning in .venv/.
pip_install() {
    : >"$unfinished"
    PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install "$@" ||
        fail "pip could not install everything; see its message above." \
            "Once the cause is gone, start this script again."
    rm -f -- "$unfinished"
}

# Runs a module of .venv/ whatever the current folder holds.
run_module() { "$venv/bin/python" -P -m "$@"; }

# Makes the command of .venv/ one of the user's, where the folder for such commands is there. What
# lies there already and is not ours stays.
link_command() {
    local folder=${HOME:-}/.local/bin link target=$venv/bin/crowdstream there
    link=$folder/crowdstream
    [ -n "${HOME:-}" ] && [ -d "$folder" ] && [ -w "$folder" ] || return 0
    there=$(readlink -- "$link") || there=
    [ "$there" != "$target" ] || return 0
    if [ -e "$link" ] || { [ -L "$link" ] && [[ $there != */.venv/bin/crowdstream ]]; }; then
        say "$link is there already, and stays; this one is $target"
        return
    fi
    ln -sfn -- "$target" "$link" || return 0
    case :$PATH: in
    *":$folder:"*) say "crowdstream is a command now: $link" ;;
    *) say "crowdstream will be a command once $folder is in PATH, as after the next login" ;;
    esac
}

# Sets fresh where something was installed.
install_server() {
    fresh=
    installed server "${server_files[@]}" && return
    check_owner
    lock
    if ! installed server "${server_files[@]}"; then
        SECONDS=0
        say "first start here, or something changed: checking what is missing"
        [ "$(getconf LONG_BIT)" = 64 ] || fail "a 64-bit system is needed: there is no numba for" \
            "32-bit processors. On a Raspberry Pi 4 or 5, install the 64-bit Raspberry Pi OS."
        say "[1/4] system packages"
        find_python
        # Nothing is built where PyAudio already works.
        if ! venv_usable || ! "$venv/bin/python" -c 'import pyaudio' 2>/dev/null; then
            find_build_tools
        fi
        install_packages
        packages=() reasons=()
        say "[2/4] Python environment"
        make_venv
        say "[3/4] Python packages of requirements.lock, and the crowdstream command"
        pip_install --require-hashes -r "$project/requirements.lock"
        pip_install --no-deps -e "$project"
        say "[4/4] compiling the mixing kernels for this processor (a minute or two, once)"
        run_module crowdstream compile || fail "the kernels did not compile; see above."
        stamp server "${server_files[@]}"
        fresh=yes
        say "installed in $SECONDS s"
    fi
    unlock
}
