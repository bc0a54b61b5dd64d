# shellcheck shell=bash
# Removes everything that was installed. Sourced by start-crowdstream.sh, with $project and $venv
# set, after contrib/service.sh. Music, its sidecars, learned MIDI mappings, and recordings are never
# searched for: only the listed files are removed, and from a folder that may hold recordings only
# files that the server created.

# Sets places, the paths to remove, and reasons, a description of each.
find_installed() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/crowdstream
    local data=${XDG_DATA_HOME:-$HOME/.local/share}/crowdstream
    local settings=${XDG_CONFIG_HOME:-$HOME/.config}/crowdstream file
    places=() reasons=() units=()
    found "$venv" "Python environment with the server's packages"
    found "$project/crowdstream.egg-info" "made by pip"
    file=$HOME/.local/bin/crowdstream
    [ "$(readlink -- "$file")" != "$venv/bin/crowdstream" ] || found "$file" "link to the command"
    found "$cache" "compiled kernels, waveforms, unpacked stems"
    found "${TMPDIR:-/tmp}/crowdstream-$(id -u)" "the same, where the cache could not be written"
    for file in "$data"/library.db "$data"/library.db-wal "$data"/library.db-shm \
        "$data"/library.db.old-*; do
        found "$file" "library of analysed tracks (sidecars beside the music stay)"
    done
    found "$settings" "settings and the token of the page"
    for file in "${XDG_STATE_HOME:-$HOME/.local/state}/crowdstream"/events.jsonl*; do
        found "$file" "event log"
    done
    for file in "${XDG_STATE_HOME:-$HOME/.local/state}/crowdstream"/installation-*.json; do
        found "$file" "record of the running version"
    done
    for file in "${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"/{"$dj_name","$unit_name"} \
        "${DESTDIR:-}/etc/systemd/system"/{"$dj_name","$unit_name","$governor_name"}; do
        found "$file" "service"
        [ ! -e "$file" ] || units+=("$file")
    done
    if [ "$(id -u)" -eq 0 ]; then
        found "${DESTDIR:-}/var/cache/crowdstream" "compiled kernels of the service"
        for file in "${DESTDIR:-}/var/lib/crowdstream"/*.log*; do
            found "$file" "log of the service"
        done
        for file in "${DESTDIR:-}/var/lib/crowdstream"/events.jsonl*; do
            found "$file" "event log of the service"
        done
        for file in "${DESTDIR:-}/var/lib/crowdstream"/installation-*.json; do
            found "$file" "record of the running version"
        done
        for file in "${DESTDIR:-}/var/lib/crowdstream"/http-{token,cert.pem,key.pem}; do
            found "$file" "token or certificate of the service's page"
        done
        for file in "${DESTDIR:-}/var/lib/crowdstream"/library.db{,-wal,-shm,.old-*}; do
            found "$file" "library of the service"
        done
    fi
}

found() { # path, description
    [ -e "$1" ] || [ -L "$1" ] || return 0
    places+=("$1")
    reasons+=("$2")
}

uninstall_all() { # "yes" to remove without asking
    local places reasons units i answer left=()
    find_installed
    if [ ${#places[@]} -eq 0 ]; then
        say "nothing is installed here"
        return
    fi
    say "this will be removed:"
    for i in "${!places[@]}"; do
        printf '    %-50s %s\n' "${places[i]}" "${reasons[i]}"
    done
    say "music, sidecars, learned MIDI mappings and recordings stay, and so does this folder:" \
        "$project"
    if [ "$1" != yes ]; then
        if ! { exec 3</dev/tty; } 2>/dev/null; then
            fail "nothing was removed: there is no terminal for the question. Use --yes."
        fi
        printf 'Remove it? [y/N] '
        read -r answer <&3 || answer=
        exec 3<&-
        case $answer in [yY] | [yY][eE][sS]) ;; *) fail "nothing was removed." ;; esac
    fi
    for i in ${units[@]+"${units[@]}"}; do end_service "$i"; done
    for i in "${places[@]}"; do
        rm -rf -- "$i" 2>/dev/null || true
        [ ! -e "$i" ] && [ ! -L "$i" ] || left+=("$i")
    done
    # Folders that are now empty.
    rmdir -- "${XDG_DATA_HOME:-$HOME/.local/share}/crowdstream" 2>/dev/null || true
    rmdir -- "${XDG_STATE_HOME:-$HOME/.local/state}/crowdstream" 2>/dev/null || true
    [ ${#left[@]} -eq 0 ] || fail "these belong to another user or are in use:" "${left[@]/#/    }"
    say "removed."
}

end_service() { # unit
    local manager=(systemctl --user)
    case $1 in "${DESTDIR:-}"/etc/*) manager=(systemctl) ;; esac
    [ -w "${1%/*}" ] && has systemctl || return 0
    "${manager[@]}" disable --now "${1##*/}" 2>/dev/null || true
    rm -f -- "$1"
    "${manager[@]}" daemon-reload 2>/dev/null || true
}
