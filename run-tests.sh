#!/usr/bin/env bash
# Runs every test, or fuzzes; installs what is missing first.
set -euo pipefail

self=$(readlink -f -- "${BASH_SOURCE[0]}")
project=${self%/*}
# shellcheck source=contrib/install.sh
. "$project/contrib/install.sh"

usage() {
    cat <<'END'
Usage: run-tests.sh [--device-free] [arguments of pytest]
       run-tests.sh --fuzz [seconds] [target ...]

  (nothing)        linting (ruff), types (mypy), an audit of the packages, then every test
  --device-free    without the tests that need a virtual sound card or install the
                   project anew; the sound servers are not installed
                   (CROWDSTREAM_NO_DEVICE=1 means the same)
  arguments        only pytest, with these: ./run-tests.sh -k limiter
  --fuzz           look for faults for so many seconds per target (60), in all targets or those
                   that are named; see docs/fuzzing.md

The exit status is 0 only if everything passed.
END
}

fuzz=
if [ "${1:-}" = --fuzz ]; then
    fuzz=yes
    shift
fi
device_free=
[ "${CROWDSTREAM_NO_DEVICE:-0}" = 0 ] || device_free=yes
arguments=()
for argument in "$@"; do
    [ -z "$fuzz" ] || break
    case $argument in
    --device-free) device_free=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) arguments+=("$argument") ;;
    esac
done
# The server takes its settings from such variables; this one is the script's own.
unset CROWDSTREAM_NO_DEVICE

# The sounds that tests mix, and the programs of those that use a sound card.
find_test_programs() {
    local plugin
    [ -z "$fuzz" ] || return 0
    [ -d /usr/share/sonic-pi/samples ] || need sonic-pi-samples "recorded loops to mix"
    has systemd-analyze || need systemd "checks the unit of the service"
    has chromium || need chromium "opens the web page"
    has pd || need puredata-core "runs the sequencer in Pure Data"
    has sclang || need supercollider-language "runs the sequencer in SuperCollider"
    has ruby || need ruby "runs the sequencer for Sonic Pi"
    [ -z "$device_free" ] || return 0
    has jackd || need jackd2 "a virtual sound card: JACK with its dummy driver"
    has pulseaudio || need pulseaudio "a virtual sound card that can be recorded"
    has parec || need pulseaudio-utils "records what the virtual sound card plays"
    plugin=(/usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so)
    [ -e "${plugin[0]}" ] || need libasound2-plugins "leads from PortAudio to PulseAudio"
    has git || need git "makes the clean clone that the installation test starts from"
}

test_files=("${server_files[@]}" "$project/requirements-test.txt")

install_tests() {
    # System packages are not part of the stamp: looking for them takes no time.
    find_test_programs
    if [ ${#packages[@]} -gt 0 ] || ! installed tests "${test_files[@]}"; then
        lock
        install_packages
        if ! installed tests "${test_files[@]}"; then
            say "Python packages of requirements-test.txt"
            pip_install -r "$project/requirements-test.txt"
            stamp tests "${test_files[@]}"
        fi
        unlock
    fi
}

install_server
install_tests
cd "$project"

if [ -n "$fuzz" ]; then
    if ! "$venv/bin/python" -c 'import atheris' 2>/dev/null; then
        say "Python packages of requirements-fuzz.txt"
        PIP_DISABLE_PIP_VERSION_CHECK=1 run_module pip install -r requirements-fuzz.txt ||
            say "atheris can't be installed here: the search goes on without it"
    fi
    exec "$venv/bin/python" -P -m tests.fuzz.run "$@"
fi

if [ ${#arguments[@]} -gt 0 ]; then
    exec "$venv/bin/python" -P -m pytest ${device_free:+-m "not device and not install"} \
        "${arguments[@]}"
fi

status=0
outputs=$(mktemp -d)
trap 'rm -rf -- "$outputs"' EXIT

check() {
    local status=0
    say "linting with ruff"
    run_module ruff check . || status=1
    say "checking types with mypy"
    run_module mypy || status=1
    say "auditing the packages"
    run_module contrib.audit || status=1
    [ $status -eq 0 ] || say "ruff, mypy or the audit found something, so this run has failed"
    return $status
}

# Three parts of the tests at the same time, since much of it is waiting. What listens to a sound
# card and what draws pages comes after them, alone: a busy machine is heard and seen.
run_part() { run_module pytest -m "not device${device_free:+ and not install}" "$@"; }
parts=() programs=()
others=(tests/web tests/record tests/library tests/examples tests/top tests/guardian tests/catalog)
others+=(tests/test_newcomer.py tests/test_web.py)
for folder in tests/*/; do
    case " ${others[*]} tests/benchmarks tests/browser " in
    *" ${folder%/} "*) ;;
    *) parts+=("$folder") ;;
    esac
done
for file in tests/test_*.py; do
    case " ${others[*]} " in
    *" $file "*) ;;
    *) programs+=("$file") ;;
    esac
done
say "linting, types, audit and the tests: what is not shown meanwhile is shown at the end"
check >"$outputs/checks" 2>&1 &
checks=$!
run_part "${parts[@]}" >"$outputs/parts" 2>&1 &
first=$!
run_part "${others[@]}" >"$outputs/others" 2>&1 &
second=$!
run_part "${programs[@]}" tests/benchmarks || status=1
wait $checks || status=1
cat -- "$outputs/checks"
wait $first || status=1
cat -- "$outputs/parts"
wait $second || status=1
cat -- "$outputs/others"
run_part tests/browser || status=1
[ -n "$device_free" ] || run_module pytest -m device || status=1
[ $status -eq 0 ] || say "something failed (see above)"
exit $status
