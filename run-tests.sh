#!/usr/bin/env bash
# Runs the tests or the fuzzer, after installing what is missing.
set -euo pipefail

self=$(readlink -f -- "${BASH_SOURCE[0]}")
project=${self%/*}
# shellcheck source=contrib/install.sh
. "$project/contrib/install.sh"

usage() {
    cat <<'END'
Usage: run-tests.sh [--repeat N] [--coverage] [tier ...] [arguments of pytest]
       run-tests.sh --fuzz [seconds] [target ...]

  (nothing)       run all tests
  tier            run only these: static (linting, types, audit), unit, integration,
                  system (sound cards, installation, service), browser, fuzz
  arguments       passed to pytest: ./run-tests.sh -k limiter
                  ./run-tests.sh tests/unit/desk/test_rings.py
  --repeat N      run the selection N times and list each test that did not pass every time
  --coverage      report the branch coverage of crowdstream/, including subprocesses
  --fuzz          search for faults for the given number of seconds per target (60), in all
                  targets or the given ones; see docs/development/fuzzing.md

Each tier installs only what it needs. The exit status is 0 only if everything passed.
END
}

all_tiers=(static unit integration system browser fuzz)
tiers=() arguments=() repeat=1 fuzz='' pytest=(pytest)
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --fuzz)
        fuzz=yes
        shift
        break
        ;;
    --coverage) pytest=(coverage run -m pytest) ;;
    --repeat=*) repeat=${1#--repeat=} ;;
    --repeat)
        repeat=${2:-}
        [ $# -lt 2 ] || shift
        ;;
    *) if [ -d "$project/tests/$1" ] && [[ " ${all_tiers[*]} " = *" $1 "* ]]; then
        tiers+=("$1")
    else
        arguments+=("$1")
    fi ;;
    esac
    shift
done
[[ $repeat =~ ^[1-9][0-9]*$ ]] || fail "--repeat needs the number of runs, for example --repeat 10"

# --- space for temporary files ----------------------------------------------------------

min_free_mb=1500
# A run is ended before the disk is full: other programs write to it too.
min_left_mb=64
disk_full=28 # exit status of pytest in that case, the number of ENOSPC; see tests/support/summary.py
temporary=$(readlink -f -- "${TMPDIR:-/tmp}") && [ -d "$temporary" ] && [ -w "$temporary" ] ||
    fail "${TMPDIR:-/tmp} is not a writable folder: set TMPDIR to one with $min_free_mb MB free."

free_mb() { df --output=avail -m -- "$temporary" | tail -n 1; }

free=$(free_mb)
[ "$free" -ge "$min_free_mb" ] || fail "$temporary has only $((free)) MB free and the tests need\
 $min_free_mb MB: free some, or set TMPDIR to another folder."

# --- requirements of the tests ----------------------------------------------------------

# Whether the distribution has a package.
packaged() { # name
    [ -n "$(apt-cache policy "$1" 2>/dev/null)" ]
}

# Collects the missing programs of a tier, as Debian packages.
find_programs() { # tier
    local plugin
    case $1 in
    system)
        has git || need git "creates the clean clone for the installation test"
        has jackd || need jackd2 "a virtual sound card: JACK with its dummy driver"
        has pulseaudio || need pulseaudio "a virtual sound card that can be recorded"
        has jack_rec || ! packaged jack-example-tools ||
            need jack-example-tools "records what programs play on JACK"
        has LinkHut || need ableton-link-utils "a peer of an Ableton Link session"
        has parec || need pulseaudio-utils "records the output of the virtual sound card"
        plugin=(/usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so)
        [ -e "${plugin[0]}" ] || need libasound2-plugins "connects PortAudio to PulseAudio"
        has pipewire || need pipewire "another server for the ports of decks and stems"
        has pw-jack || need pipewire-jack "connects programs for JACK to PipeWire"
        has icecast2 || need icecast2 "receives broadcasts"
        has snapserver || need snapserver "distributes a broadcast to rooms"
        has snapclient || need snapclient "plays it in a room"
        has nft || need nftables "drops packets of a broadcast"
        has systemd-analyze || need systemd "checks the units of the service"
        [ -d /usr/share/sonic-pi/samples ] || need sonic-pi-samples "recorded loops to mix"
        has pd || need puredata-core "runs the sequencer in Pure Data"
        has sclang || need supercollider-language "runs the sequencer in SuperCollider"
        has ruby || need ruby "runs the sequencer for Sonic Pi"
        ;;
    browser)
        # The same browser without windows: its tests take a fifth less of a core.
        if has chromium-headless-shell; then
            :
        elif packaged chromium-headless-shell; then
            need chromium-headless-shell "opens the web page"
        else
            has chromium || need chromium "opens the web page"
        fi
        # If the distribution has no such package, the summary lists what was not tested.
        has firefox-esr || has firefox || ! packaged firefox-esr ||
            need firefox-esr "opens the web page as well"
        has WebKitWebDriver || ! packaged webkit2gtk-driver ||
            need webkit2gtk-driver "opens the web page in WebKit"
        has Xvfb || ! packaged xvfb || need xvfb "a virtual screen, which WebKit requires"
        ;;
    esac
}

install_tier() { # tier
    local stamp=tests requirements=("$project/tests/requirements.txt")
    if [ -e "$project/tests/$1/requirements.txt" ]; then
        stamp=tests-$1
        requirements+=("$project/tests/$1/requirements.txt")
    fi
    # System packages are not part of the stamp: checking for them takes no time.
    packages=() reasons=()
    find_programs "$1"
    if [ ${#packages[@]} -gt 0 ] || ! installed "$stamp" "${server_files[@]}" "${requirements[@]}"; then
        lock
        install_packages
        if ! installed "$stamp" "${server_files[@]}" "${requirements[@]}"; then
            say "Python packages of the $1 tests"
            pip_install "${requirements[@]/#/-r}"
            stamp "$stamp" "${server_files[@]}" "${requirements[@]}"
        fi
        unlock
    fi
}

# Prints the tiers of the tests that pytest's arguments select, by collecting them.
tiers_of() { # arguments
    run_module pytest --collect-only -q "$@" 2>/dev/null |
        sed -n 's|^tests/\([a-z]*\)/.*::.*|\1|p' | sort -u
}

# --- the run ----------------------------------------------------------------------------

cd "$project"
install_server
if [ -n "$fuzz" ]; then
    install_tier fuzz
    if ! "$venv/bin/python" -c 'import atheris' 2>/dev/null; then
        say "Python packages of tests/fuzz/atheris.txt"
        PIP_DISABLE_PIP_VERSION_CHECK=1 run_module pip install -r tests/fuzz/atheris.txt ||
            say "atheris can't be installed here: fuzzing continues without it"
    fi
    exec "$venv/bin/python" -P -m tests.fuzz.run "$@"
fi

if [ ${#tiers[@]} -eq 0 ] && [ ${#arguments[@]} -eq 0 ]; then
    tiers=("${all_tiers[@]}")
fi
if [ ${#tiers[@]} -eq 0 ]; then
    for tier in "${all_tiers[@]}"; do
        [ ! -e "tests/$tier/requirements.txt" ] || install_tier "$tier"
    done
    for tier in $(tiers_of "${arguments[@]}"); do install_tier "$tier"; done
else
    for tier in "${tiers[@]}"; do install_tier "$tier"; done
fi

# All files of a run are in its own folder, so that two runs do not interfere and nothing remains.
# The variable marks all processes that a run starts; processes that are left at the end are a
# fault.
run=$(mktemp -d "$temporary/cs-XXXXXX")
mkdir "$run/tmp"
full=''
export OPENBLAS_NUM_THREADS=1  # as in the server
export CROWDSTREAM_TEST_RUN=${run##*/} TMPDIR=$run/tmp COVERAGE_FILE=$run/coverage
finish() {
    local status=$? left
    # Another Ctrl-C must not interrupt this.
    trap - EXIT
    trap '' INT TERM HUP
    # A run that was ended early may leave some processes; after a complete run they are a fault.
    run_module tests.support.processes "$CROWDSTREAM_TEST_RUN" || [ "$status" -ge 128 ] || status=1
    left=$(free_mb)
    rm -rf -- "$run"
    [ "$left" -ge "$min_left_mb" ] || full=yes
    if [ "$status" -gt 0 ] && [ "$status" -lt 128 ] && [ -n "$full" ]; then
        say "the disk of $temporary became full: free $min_free_mb MB there, or set TMPDIR to another\
 folder, and run this again." >&2
    fi
    exit "$status"
}
# pytest runs in the background, because a shell handles signals only after a foreground command
# ends.
# A Ctrl-C in the terminal reaches both; a signal to this shell alone is passed on.
pytest_pid=''
end_early() { # status
    trap '' INT TERM HUP
    if [ -n "$pytest_pid" ]; then
        [ "$1" -eq 130 ] || kill -INT "$pytest_pid" 2>/dev/null || true
        wait "$pytest_pid" || true
    fi
    exit "$1"
}
trap finish EXIT
trap 'end_early 130' INT
trap 'end_early 143' TERM HUP

# Unit tests only compute. The others mostly wait for sound cards, pages and processes: two workers
# per core.
workers=$(nproc)
[ "${tiers[*]}" = unit ] || workers=$((2 * workers))
selection=("${tiers[@]/#/tests/}" ${arguments[@]+"${arguments[@]}"})
run_once() { # file for the results
    run_module "${pytest[@]}" -p tests.support.summary -o console_output_style=classic -n "$workers" \
        --no-loadscope-reorder --basetemp "$run/t" --results "$1" "${selection[@]}" &
    pytest_pid=$!
    local ended=0
    wait "$pytest_pid" || ended=$?
    [ "$ended" -ne "$disk_full" ] || full=yes
    return "$ended"
}

# Hundreds of processes import the same files: write bytecode.
unset PYTHONDONTWRITEBYTECODE
# Compile the kernels once, instead of once in each worker.
run_module crowdstream compile
status=0
for ((number = 1; number <= repeat; number++)); do
    [ "$repeat" -eq 1 ] || say "run $number of $repeat"
    run_once "$run/results-$number" || status=1
    [ -z "$full" ] || exit 1
done
[ "$repeat" -eq 1 ] || run_module tests.support.summary "$run"/results-* || status=1
if [ "${pytest[0]}" = coverage ]; then
    run_module coverage combine --quiet
    run_module coverage report
fi
exit $status
