#!/usr/bin/env bash
# Starts the CrowdStream server; installs what is missing first.
set -euo pipefail

self=$(readlink -f -- "${BASH_SOURCE[0]}")
project=${self%/*}
# shellcheck source=contrib/install.sh
. "$project/contrib/install.sh"
# shellcheck source=contrib/service.sh
. "$project/contrib/service.sh"

usage() {
    cat <<'END'
Usage: start-crowdstream.sh [--demo | --dj FOLDER | --install-only | --install-service | --uninstall-service]
                            [options of the server]

  (nothing)        install what is missing, then start the server with the preset
                   that suits this machine
  --demo           mix four generated tracks; --seconds N ends it by itself
  --dj FOLDER      play what lies there, without an end, or a set: --dj SET.toml
  --install-only   install what is missing and stop
  --install-service    have systemd start the server with these options, now and at
                   each boot; through sudo as a service of the machine, else of the user
  --uninstall-service  take that back
  --help           this text, and the server's own options once it is installed

Everything else is passed on to the server, for example:
  ./start-crowdstream.sh --preset live --a ~/music/track-1

System packages are installed with apt-get, as root or through sudo, and only if
they are missing. All else goes into the folder .venv/ beside this script.
END
}

mode=serve
arguments=()
folder='' port=${CROWDSTREAM_PORT:-57120} crowd=${CROWDSTREAM_MOVEMENT_MAP:-} before=''
for argument in "$@"; do
    case $before in
    --dj)
        folder=$argument mode=dj before=''
        continue
        ;;
    --port) port=$argument ;;
    --movement-map) crowd=$argument ;;
    esac
    before=$argument
    case $argument in
    --dj) ;;
    --dj=*) folder=${argument#--dj=} mode=dj ;;
    --port=*)
        port=${argument#--port=}
        arguments+=("$argument")
        ;;
    --movement-map=*)
        crowd=${argument#--movement-map=}
        arguments+=("$argument")
        ;;
    --demo) mode=demo ;;
    --install-only) mode=install ;;
    --install-service) mode=service ;;
    --uninstall-service) mode=no-service ;;
    -h | --help)
        mode=help
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

case $mode in
service)
    install_service ${arguments[@]+"${arguments[@]}"}
    exit
    ;;
no-service)
    uninstall_service
    exit
    ;;
esac

if [ "$before" = --dj ] || { [ "$mode" = dj ] && [ -z "$folder" ]; }; then
    printf 'start-crowdstream.sh: --dj needs a folder with tracks, or a set file\n' >&2
    exit 2
fi

install_server

# The DJ runs beside the server, which does not need it. One that dies is followed by another, which
# goes on where it was, as long as the server lives: that will be the process of this script.
play_along() {
    trap '' INT
    while kill -0 $$ 2>/dev/null; do
        status=0
        nice -n 5 "$venv/bin/python" -P -m crowdstream dj "$folder" --port "$port" --crowd "$crowd" \
            --with $$ ||
            status=$?
        [ $status -ne 0 ] || return 0
        sleep 1
    done
}

# exec: signals reach the server itself, and its exit status is this script's.
case $mode in
install) say "everything is installed; ./start-crowdstream.sh starts the server" ;;
demo) exec "$venv/bin/python" -P -m examples.demo ${arguments[@]+"${arguments[@]}"} ;;
dj)
    export PYTHONPATH="$project${PYTHONPATH:+:$PYTHONPATH}"
    if [ -z "$crowd" ]; then
        crowd=$project/configs/crowd.toml
        arguments+=(--movement-map "$crowd")
    fi
    # Not as a child of what becomes the server: that waits for its children when it ends.
    (play_along &)
    exec "$venv/bin/python" "$project/audio_server.py" ${arguments[@]+"${arguments[@]}"}
    ;;
serve) exec "$venv/bin/python" "$project/audio_server.py" ${arguments[@]+"${arguments[@]}"} ;;
esac
