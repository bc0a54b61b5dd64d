#!/usr/bin/env bash
# Starts the CrowdStream server, after installing what is missing.
set -euo pipefail

self=$(readlink -f -- "${BASH_SOURCE[0]}")
project=${self%/*}
# shellcheck source=contrib/install.sh
. "$project/contrib/install.sh"
# shellcheck source=contrib/service.sh
. "$project/contrib/service.sh"
# shellcheck source=contrib/uninstall.sh
. "$project/contrib/uninstall.sh"

usage() {
    cat <<'END'
Usage: start-crowdstream.sh [FOLDER | --demo | --install-only | --install-service | --uninstall-service]
                            [options of the server]
       start-crowdstream.sh --uninstall [--yes]

  (nothing)        install what is missing, then start the server with the preset
                   that suits this machine
  FOLDER           play the tracks in this folder indefinitely, or a set: SET.toml;
                   --dj FOLDER is the same; label:NAME is the file system with that
                   label, such as a USB stick, which may be plugged in later
  --dj-fallback FOLDER  play this folder while the other one is missing, empty or
                   unreadable
  --demo           mix four generated tracks; --duration N ends after N seconds
  --install-only   install what is missing and exit
  --install-service    make systemd start the server with these options, now and at
                   each boot, and with FOLDER also the DJ; through sudo as a system
                   service, otherwise as a user service
  --uninstall-service  remove the service
  --uninstall      list everything that was installed, ask (not with --yes), and remove
                   it; music, sidecars, learned MIDI mappings and recordings stay
  --help           this text, and the server's own options once it is installed

Everything else is passed to the server, for example:
  ./start-crowdstream.sh --preset live --deck-a ~/music/track-1

System packages are installed with apt-get, as root or through sudo, and only if
they are missing. Everything else is installed into the folder .venv/ beside this script,
with a link to the command crowdstream in ~/.local/bin if that folder exists.
END
}

refuse() { # reason
    printf 'start-crowdstream.sh: %s\n' "$1" >&2
    exit 2
}

# Sets words to the number of words that belong to an option; tests compare it with the settings.
words_of() { # option
    case $1 in
    --*=* | --http | --no-http | --http-require-token | --no-http-require-token | \
        --http-private | --no-http-private | --device-fallback | --no-device-fallback | \
        --jack-transport | --no-jack-transport | --print-beats | --no-print-beats | \
        --watch | --no-watch | --list-devices | --show-config | --tracks-only) words=0 ;;
    --levels) words=4 ;;
    --osc-allow | --http-allowed-hosts | --http-names | --alert-url | --lights | \
        --jack-ports) words=1000 ;;
    *) words=1 ;;
    esac
}

mode=serve
arguments=()
folder='' given='' fallback='' yes='' words=0 option=''
port=${CROWDSTREAM_PORT:-57120} crowd=${CROWDSTREAM_MOVEMENT_MAP:-}
host=${CROWDSTREAM_OSC_HOST:-}

# The shell does not expand a ~ after `=`.
expand() { # path; sets expanded
    case $1 in "~" | "~/"*) expanded=$HOME${1#"~"} ;; *) expanded=$1 ;; esac
}

play() { # folder or set, the option that names it
    given=${2-}
    [ -n "$1" ] || refuse "--dj needs a folder with tracks, or a set file"
    [ -z "$folder" ] || refuse "only one folder or set can be played, not both ${folder@Q} and ${1@Q}"
    expand "$1"
    folder=$expanded
}

set_fallback() { # folder
    [ -n "$1" ] || refuse "--dj-fallback needs a folder with tracks"
    [ -z "$fallback" ] || refuse "only one fallback can be played, not both ${fallback@Q} and ${1@Q}"
    expand "$1"
    fallback=$expanded
}

# An option without the folder that it needs.
check_named() {
    [ "$words" -eq 0 ] || case $option in --dj) play '' ;; --dj-fallback) set_fallback '' ;; esac
}

for argument in "$@"; do
    case $argument in
    --*)
        check_named
        words_of "$argument"
        option=$argument
        ;;
    -h) ;;
    *)
        if [ "$words" -eq 0 ]; then
            play "$argument"
            continue
        fi
        words=$((words - 1))
        case $option in
        --dj)
            play "$argument" "--dj: "
            continue
            ;;
        --dj-fallback)
            set_fallback "$argument"
            continue
            ;;
        --port) port=$argument ;;
        --osc-host) host=$argument ;;
        --movement-map) crowd=$argument ;;
        esac
        arguments+=("$argument")
        continue
        ;;
    esac
    case $argument in
    --dj | --dj-fallback) ;;
    --dj=*) play "${argument#--dj=}" "--dj: " ;;
    --dj-fallback=*) set_fallback "${argument#--dj-fallback=}" ;;
    --port=*)
        port=${argument#--port=}
        arguments+=("$argument")
        ;;
    --osc-host=*)
        host=${argument#--osc-host=}
        arguments+=("$argument")
        ;;
    --movement-map=*)
        crowd=${argument#--movement-map=}
        arguments+=("$argument")
        ;;
    --demo) mode=demo words=0 ;;
    --install-only) mode=install words=0 ;;
    --install-service) mode=service words=0 ;;
    --uninstall-service) mode=no-service words=0 ;;
    --uninstall) mode=uninstall words=0 ;;
    --yes) yes=yes words=0 ;;
    -h | --help)
        mode=help
        break
        ;;
    *) arguments+=("$argument") ;;
    esac
done

if [ "$mode" = help ]; then
    usage
    installed server "${server_files[@]}" || exit 0
    printf '\n'
    exec "$venv/bin/python" "$project/audio_server.py" --help
fi
check_named

# Paths are checked before anything is installed, started or written to a unit.
wrong_path() { # option, path, what it must be
    refuse "$1: ${2@Q} is not $3"
}

check_path() { # option, path
    local path=$2
    # The shell does not expand a ~ after `=`; the server expands it to the home folder.
    case $path in "~" | "~/"*) path=$HOME${path#"~"} ;; esac
    case $1 in
    --media-root) [ -d "$path" ] || wrong_path "$1" "$2" "a folder" ;;
    --deck-[abcd] | --[abcd]) # the second is an alias
        [ -r "$path" ] || wrong_path "$1" "$2" "a readable file or folder"
        ;;
    --config | --http-cert | --http-key | --movement-map | --schedule)
        [ "$1 $path" != "--http-cert auto" ] || return 0
        [ -f "$path" ] && [ -r "$path" ] || wrong_path "$1" "$2" "a readable file"
        ;;
    --record-folder) [ ! -e "$path" ] || [ -d "$path" ] || wrong_path "$1" "$2" "a folder" ;;
    --log-file) # its folder is not created
        [ ! -d "$path" ] || wrong_path "$1" "$2" "a file"
        case $path in */*) path=${path%/*}/ ;; *) path=. ;; esac
        [ -d "$path" ] || wrong_path "$1" "$2" "in an existing folder"
        ;;
    esac
}

check_paths() { # options of the server
    local option='' argument
    for argument in "$@"; do
        case $option in --*) check_path "$option" "$argument" ;; esac
        option=$argument
        case $argument in
        --*=*)
            check_path "${argument%%=*}" "${argument#*=}"
            option=''
            ;;
        esac
    done
}

if [ "$mode" = uninstall ]; then
    [ -z "${arguments[*]-}$folder$fallback" ] || refuse "--uninstall takes no other option than --yes"
    uninstall_all "$yes"
    exit
fi
check_paths ${arguments[@]+"${arguments[@]}"}
if [ -n "$folder" ]; then
    case $mode in
    serve) mode=dj ;;
    service) ;;
    *) refuse "${folder@Q} is not expected here; see --help" ;;
    esac
    case $folder in
    label:) refuse "$given${folder@Q}: the label of a file system is missing" ;;
    label:*) ;; # it may be plugged in later
    *.toml)
        [ -z "$fallback" ] || refuse "--dj-fallback needs a folder to play, not a set file"
        [ -f "$folder" ] && [ -r "$folder" ] || refuse "$given${folder@Q} is not a readable set file"
        ;;
    *) # with other music to play until it is there, a folder may be missing
        if [ -z "$fallback" ] || [ -e "$folder" ]; then
            [ -d "$folder" ] && [ -r "$folder" ] || refuse "$given${folder@Q} is not a folder with tracks, or a set file"
        fi
        ;;
    esac
fi
case $fallback in
"" | label:?*) ;;
*) [ -d "$fallback" ] && [ -r "$fallback" ] || refuse "--dj-fallback: ${fallback@Q} is not a folder with tracks" ;;
esac
[ -z "$fallback" ] || [ -n "$folder" ] || refuse "--dj-fallback needs a folder to play first: --dj FOLDER"

case $mode in
service)
    install_service "$folder" "$fallback" ${arguments[@]+"${arguments[@]}"}
    exit
    ;;
no-service)
    uninstall_service
    exit
    ;;
esac

install_server
[ -z "$fresh" ] && [ "$mode" != install ] || link_command

# The DJ runs beside the server, which does not depend on it. A DJ that dies is restarted and
# resumes where it was, as long as the server lives; the server will be the process of this script.
play_along() {
    trap '' INT
    while kill -0 $$ 2>/dev/null; do
        status=0
        nice -n 5 "$venv/bin/python" -P -m crowdstream dj "$folder" --port "$port" --crowd "$crowd" \
            ${host:+--host "$host"} ${fallback:+--dj-fallback "$fallback"} --with $$ ||
            status=$?
        # A wrong argument stays wrong, so it is not retried.
        [ $status -ne 0 ] && [ $status -ne 2 ] || return 0
        sleep 1
    done
}

# exec: signals reach the server itself, and its exit status is this script's.
case $mode in
install) say "everything is installed; ./start-crowdstream.sh starts the server" ;;
demo) exec "$venv/bin/python" -P -m crowdstream demo ${arguments[@]+"${arguments[@]}"} ;;
dj)
    export PYTHONPATH="$project${PYTHONPATH:+:$PYTHONPATH}"
    if [ -z "$crowd" ]; then
        crowd=$project/configs/crowd.toml
        arguments+=(--movement-map "$crowd")
    fi
    # With these, the server listens on the loopback address, where the DJ looks for it by default.
    case $host in 127.0.0.1 | localhost | 0.0.0.0 | ::) host= ;; esac
    # Not as a child of the future server, which waits for its children when it ends.
    (play_along &)
    exec "$venv/bin/python" "$project/audio_server.py" ${arguments[@]+"${arguments[@]}"}
    ;;
serve) exec "$venv/bin/python" "$project/audio_server.py" ${arguments[@]+"${arguments[@]}"} ;;
esac
