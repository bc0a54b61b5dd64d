# shellcheck shell=bash
# Shared by start-crowdstream.sh and run-tests.sh: find what is missing, report it, install it.
# Sourced with $project set to the project's folder. All Python packages are installed into the
# project's own .venv/; only programs and files needed for compiling come from the system's
# packages.

: "${project:?contrib/install.sh is sourced by the scripts that set project}"
venv=$project/.venv
# Exists while pip is running: a package whose installation was interrupted may look complete to the
# next pip, so the environment of an interrupted run is not used.
unfinished=$venv/.unfinished
server_files=("$project/requirements.txt" "$project/requirements.lock" "$project/pyproject.toml")

# Missing system packages, collected by need().
packages=()
reasons=()

# What apt and pip do is for whoever watches: a log has only their warnings and errors.
quiet=0
[ -t 1 ] || quiet=1

say() { printf 'crowdstream: %s\n' "$*"; }

fail() {
    printf 'crowdstream: %s\n' "$@" >&2
    exit 1
}

need() { # package, purpose
    packages+=("$1")
    reasons+=("$2")
}

has() { command -v "$1" >/dev/null 2>&1; }

# Sets $root_command to the command with the prefix that this user needs to run it as root. It must
# not recommend sudo if sudo is not installed; root needs no prefix.
as_root_text() { # command
    root_command=$1
    [ "$(id -u)" -ne 0 ] || return 0
    if has sudo; then
        root_command="sudo ${1//"&& "/"&& sudo "}"
    else
        root_command="su -c '$1'"
    fi
}

# --- detecting an existing installation -------------------------------------------------

# Prints a text that changes whenever the installation must be checked again: other requirements,
# another Python or machine, a moved project. It runs only two short programs, so that an installed
# server starts without delay.
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

# The stamp is written last.
stamp() { # stamp name, requirement files
    local stamp=$venv/.installed-$1
    shift
    fingerprint "$@" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

# Two scripts must not modify the same .venv/ at the same time. The lock is on the project's folder
# itself, and is released when the script ends, however it ends.
lock() {
    has flock || return 0
    exec 9<"$project"
    flock --nonblock 9 && return
    say "another installation is running here; waiting for it"
    flock 9
}

unlock() { exec 9<&-; }

# --- system packages --------------------------------------------------------------------

# Prints what a Python lacks to create .venv/ and build PyAudio; fails if it does not run.
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

# Sets $python to the first Python that lacks nothing. Any is suitable: that of a version manager
# needs no system packages. If there is none, the missing parts of the system's Python are
# installed.
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
        need python3-venv "creates the project's own Python environment, .venv/"
        need python3-dev "Python's C headers, to build PyAudio"
        return
    fi
    lacks=$(python_lacks "$python") || lacks="venv headers"
    case $lacks in *version*)
        fail "Python 3.11 to 3.14 is required (numba supports no other), and $python is" \
            "$("$python" --version). Debian 12 and Raspberry Pi OS (bookworm) have 3.11. The script" \
            "uses any suitable Python in PATH, as python3 or python3.11 to python3.14."
        ;;
    esac
    case $lacks in *venv*)
        need python3-venv "creates the project's own Python environment, .venv/" ;;
    esac
    case $lacks in *headers*)
        need python3-dev "Python's C headers, to build PyAudio" ;;
    esac
}

# PyAudio is built here, because its authors publish no compiled package for Linux. The check
# compiles a test file instead of querying packages, so the user's own compiler or PortAudio is
# accepted.
find_build_tools() {
    local compiler=${CC:-gcc}
    # CC may contain options, so it is split into words.
    # shellcheck disable=SC2086
    if ! printf '#include <stdio.h>\n' | $compiler -E -x c - >/dev/null 2>&1; then
        need gcc "compiles PyAudio, which has no compiled package for Linux"
        need libc6-dev "C headers for the compiler"
        [ -e /usr/include/portaudio.h ] || need portaudio19-dev "PortAudio, the library for sound cards"
    elif ! printf '#include <portaudio.h>\n' | $compiler ${CFLAGS:-} -E -x c - >/dev/null 2>&1; then
        need portaudio19-dev "PortAudio, the library for sound cards"
    fi
}

# Installs the packages collected by need(), as root or through sudo. If neither is possible, prints
# the command and exits.
install_packages() {
    [ ${#packages[@]} -gt 0 ] || return 0
    local i as_root=()
    local command="apt-get install -y --no-install-recommends ${packages[*]}" root_command
    say "these system packages are missing:"
    for i in "${!packages[@]}"; do
        printf '    %-20s %s\n' "${packages[i]}" "${reasons[i]}"
    done
    has apt-get || fail "there is no apt-get here; install them with this system's own package" \
        "manager (their names may differ), then run this script again."
    # A fresh system has no package list yet; an outdated list names files that no longer exist.
    local known=yes
    apt-get -s install "${packages[@]}" >/dev/null 2>&1 || known=
    [ -n "$known" ] || command="apt-get update && $command"
    if [ "$(id -u)" -ne 0 ]; then
        # Without a terminal sudo could not prompt for a password and would only fail later.
        if has sudo && { sudo -n true 2>/dev/null || { : </dev/tty; } 2>/dev/null; }; then
            as_root=(sudo)
        else
            local why="not root, and no sudo"
            ! has sudo || why+=" without a password"
            as_root_text "$command"
            fail "they can't be installed here: $why." \
                "Run this, then run this script again:" "    $root_command"
        fi
    fi
    as_root_text "$command"
    say "installing them: $root_command"
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    if [ -n "$known" ] && apt_install; then
        return
    fi
    say "updating the package list"
    "${as_root[@]}" update || fail "apt-get update failed; see its message above."
    as_root_text "dpkg --configure -a"
    apt_install || fail "apt-get could not install ${packages[*]}; see its message above." \
        "If a package manager was interrupted earlier: $root_command"
}

apt_install() { # uses as_root of install_packages
    local command=("${as_root[@]}" install -y --no-install-recommends "${packages[@]}")
    if [ "$quiet" -eq 0 ]; then
        "${command[@]}"
    else
        "${command[@]}" >/dev/null
    fi
}

# --- the virtual environment ------------------------------------------------------------

# True if .venv/ is complete, has a suitable Python, and was created at this path (its commands
# contain it).
venv_usable() {
    [ -x "$venv/bin/python" ] && [ ! -e "$unfinished" ] && grep -qF -- "$venv" "$venv/bin/activate" 2>/dev/null &&
        "$venv/bin/python" -c '
import sys, pip
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14) or sys.prefix == sys.base_prefix)' 2>/dev/null
}

# Exits if .venv/ or its parent folder belongs to another user, because it can then be neither
# changed nor recreated.
check_owner() {
    local place=$venv
    [ -e "$venv" ] || place=$project
    [ -w "$place" ] && [ -x "$place" ] && [ "$(id -u)" -ne 0 ] && return
    local owner
    owner=$(stat -c %U -- "$place")
    if [ "$(id -u)" -eq 0 ]; then
        # Root could, but would leave files that their owner can't change.
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
    fail "$place belongs to $owner, and this is $(id -un): nothing was changed. Let $owner" \
        "install or update it, or copy the project to a folder of your own:" "    $command"
}

make_venv() { # uses $python
    venv_usable && return
    if [ -e "$venv" ]; then
        say "$venv is incomplete, or from another machine or Python: recreating it"
        rm -rf -- "$venv"
    fi
    say "creating the Python environment .venv/ with $("$python" --version)"
    "$python" -m venv "$venv" || fail "$python could not create $venv; see its message above."
}

# The user's own pip configuration applies, except that `user = true` has no meaning in .venv/.
pip_install() {
    : >"$unfinished"
    PIP_USER=0 PIP_QUIET=$quiet PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$venv/bin/python" -m pip install "$@" ||
        fail "pip could not install everything; see its message above." \
            "Once the problem is solved, run this script again."
    rm -f -- "$unfinished"
}

# Runs a module of .venv/, whatever the current folder contains.
run_module() { "$venv/bin/python" -P -m "$@"; }

# Links the command of .venv/ into the user's folder for commands, if that folder exists. An
# existing file that does not belong to CrowdStream is kept.
link_command() {
    local folder=${HOME:-}/.local/bin link target=$venv/bin/crowdstream there
    link=$folder/crowdstream
    [ -n "${HOME:-}" ] && [ -d "$folder" ] && [ -w "$folder" ] || return 0
    there=$(readlink -- "$link") || there=
    [ "$there" != "$target" ] || return 0
    if [ -e "$link" ] || { [ -L "$link" ] && [[ $there != */.venv/bin/crowdstream ]]; }; then
        say "$link already exists and is kept; the command of this copy is $target"
        return
    fi
    ln -sfn -- "$target" "$link" || return 0
    case :$PATH: in
    *":$folder:"*) say "crowdstream is now a command: $link" ;;
    *) say "crowdstream will be a command once $folder is in PATH, for example after the next login" ;;
    esac
}

# Sets fresh if anything was installed.
install_server() {
    fresh=
    installed server "${server_files[@]}" && return
    check_owner
    lock
    if ! installed server "${server_files[@]}"; then
        SECONDS=0
        say "first start here, or something changed: checking what is missing"
        [ "$(getconf LONG_BIT)" = 64 ] || fail "a 64-bit system is required: numba does not support" \
            "32-bit processors. On a Raspberry Pi 4 or 5, install the 64-bit Raspberry Pi OS."
        say "[1/4] system packages"
        find_python
        # Nothing is built if PyAudio already works.
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
