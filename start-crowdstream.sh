#!/usr/bin/env bash
# Starts the CrowdStream server; installs what is missing first.
set -euo pipefail

self=$(readlink -f -- "${BASH_SOURCE[0]}")
project=${self%/*}
# shellcheck source=contrib/install.sh
. "$project/contrib/install.sh"

usage() {
    cat <<'END'
Usage: start-crowdstream.sh [--demo | --install-only] [options of the server]

  (nothing)        install what is missing, then start the server with the preset
                   that suits this machine
  --demo           mix four generated tracks; --seconds N ends it by itself
  --install-only   install what is missing and stop
  --help           this text, and the server's own options once it is installed

Everything else is passed on to the server, for example:
  ./start-crowdstream.sh --preset live --a ~/music/track-1

System packages are installed with apt-get, as root or through sudo, and only if
they are missing. All else goes into the folder .venv/ beside this script.
END
}

mode=serve
arguments=()
for argument in "$@"; do
    case $argument in
    --demo) mode=demo ;;
    --install-only) mode=install ;;
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

install_server

# exec: signals reach the server itself, and its exit status is this script's.
case $mode in
install) say "everything is installed; ./start-crowdstream.sh starts the server" ;;
demo) exec "$venv/bin/python" -P -m examples.demo ${arguments[@]+"${arguments[@]}"} ;;
serve) exec "$venv/bin/python" "$project/audio_server.py" ${arguments[@]+"${arguments[@]}"} ;;
esac
