# shellcheck shell=bash
# Installs the server as a systemd service, and for a folder or set also the DJ as a second service,
# and removes them. Sourced by start-crowdstream.sh, with $self and $project set, after
# contrib/install.sh.
#
# As root: a system service, which runs as the user who called sudo, or as the owner of the
# project's folder; if root owns it, as a dynamic user that exists only while the service runs.
# Otherwise: a user service, with the user's sound server.

unit_name=crowdstream.service
dj_folder=''  # what the DJ plays, once it is known
dj_name=crowdstream-dj.service
governor_name=crowdstream-governor.service

# Sets kind, account (the user of the service, empty for a dynamic one), and the files unit, dj_unit
# and governor_unit.
choose_kind() {
    if [ "$(id -u)" -ne 0 ]; then
        kind=user
        account=
        unit=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/$unit_name
        dj_unit=${unit%/*}/$dj_name
        governor_unit=  # only root may set it
        manager=(systemctl --user)
        return
    fi
    kind=system
    unit=${DESTDIR:-}/etc/systemd/system/$unit_name
    dj_unit=${unit%/*}/$dj_name
    governor_unit=${unit%/*}/$governor_name
    manager=(systemctl)
    account=${SUDO_USER:-root}
    [ "$account" != root ] || account=$(stat -c %U -- "$project")
    [ "$account" != root ] || account=
}

need_systemd() {
    local state
    state=$(has systemctl && "${manager[@]}" is-system-running 2>/dev/null) || true
    case $state in
    "" | offline | unknown)
        fail "systemd is not running here, or has no session for this user, so nothing would start" \
            "the service." \
            "docs/how-to/start-at-boot-with-dj.md describes other ways to start it at boot."
        ;;
    esac
}

as_account() {
    if [ -n "$account" ]; then runuser -u "$account" -- "$@"; else "$@"; fi
}

# Quotes one word of a command for systemd, without any expansion.
unit_word() { # word
    local word=$1
    case $word in *[[:cntrl:]]*) fail "a service's options must not contain control characters" ;; esac
    word=${word//\\/\\\\}
    word=${word//\"/\\\"}
    word=${word//%/%%}
    printf '"%s"' "${word//\$/\$\$}"
}

# Prints a line for each path outside the service's own folders that the settings make it write to.
# $1: the output of --show-config.
writable_lines() {
    local name line folder folders=()
    local record='^record_folder += "([^"\\]*)" +# ' file='^log_file += "([^"\\]*)/[^"/\\]*" +# '
    while IFS= read -r line; do
        [[ $line =~ $record || $line =~ $file ]] || continue
        folder=${BASH_REMATCH[1]}
        case $folder in
        "") folder=/ ;;
        [!/]*) folder=$PWD/$folder ;;
        esac
        folders+=("$folder")
    done <<<"$1"
    [ "$kind" = system ] || return 0  # a user service may write wherever the user may
    if [[ $'\n'$1 != *$'\n'record_folder\ * ]]; then
        printf 'Environment="CROWDSTREAM_RECORD_FOLDER=%%S/crowdstream/recordings"\n'
    fi
    for name in ${folders[@]+"${folders[@]}"}; do
        printf 'ReadWritePaths=%s\n' "$(unit_word "-$name")"
    done
}

# Prints a line that gives a system service access to a library of tracks: that of its user, or one
# beside its recordings.
library_line() {
    local home=
    if [ -n "$account" ] && has getent; then
        IFS=: read -r _ _ _ _ _ home _ < <(getent passwd "$account") || true
    fi
    if [ -n "$home" ]; then
        printf 'ReadWritePaths=%s\n' "$(unit_word "-$home/.local/share/crowdstream")"
    else
        printf 'Environment="XDG_DATA_HOME=%%S"\n'
    fi
}

# Prints lines that let a system service keep the library of a stick on it. One that is mounted
# later is not covered by ProtectSystem; one that is mounted before the service starts is.
stick_lines() { # folder of the DJ
    local name
    case $1 in label:* | /media/* | /run/media/* | /mnt/*) ;; *) return 0 ;; esac
    for name in /media /run/media /mnt; do printf 'ReadWritePaths=-%s\n' "$name"; done
}

# Prints the value of a setting from the output of --show-config, or the default if it is missing.
setting() { # output of --show-config, name, default
    local value=$3 line text="^$2 += \"([^\"\\]*)\" +# " number="^$2 += ([0-9]+) +# "
    while IFS= read -r line; do
        if [[ $line =~ $text || $line =~ $number ]]; then value=${BASH_REMATCH[1]}; fi
    done <<<"$1"
    printf '%s' "$value"
}

# Prints a unit. $1: server or dj; $2: the output of --show-config; the rest: its command.
render_unit() {
    local line word command='' folder user_line writable stick part=$1 shown=$2
    shift 2
    for word in "$@"; do command+="${command:+ }$(unit_word "$word")"; done
    folder=${PWD//%/%%}
    user_line=DynamicUser=yes
    # The DJ runs as the server's user: both write to the same folders.
    [ "$part" = server ] || user_line=User=${unit_name%.service}$'\n'$user_line
    [ -z "$account" ] || user_line=User=$account
    writable=$(writable_lines "$shown")
    stick=$(stick_lines "$dj_folder")
    while IFS= read -r line; do
        case $line in
        "@server "* | "@dj "*) [[ $line = "@$part "* ]] || continue ;;
        esac
        line=${line#"@$part "}
        case $line in
        "@system "* | "@user "*) [[ $line = "@$kind "* ]] || continue ;;
        esac
        line=${line#"@$kind "}
        case $line in
        SupplementaryGroups=audio) grep -q '^audio:' /etc/group || continue ;;
        ExecStart=*) line=ExecStart=$command ;;
        WorkingDirectory=*) line=WorkingDirectory=-$folder ;;
        @ACCOUNT@) line=$user_line ;;
        @WRITABLE@)
            line=$writable
            [ "$kind" = user ] || line+=${line:+$'\n'}$(library_line)
            [ "$kind$part" != systemdj ] || line+=${stick:+$'\n'$stick}
            ;;
        esac
        printf '%s\n' "$line"
    done < <(template_body "$unit_name")
}

# A template without its introductory comment.
template_body() { # name
    local line head=yes
    while IFS= read -r line; do
        case $head$line in
        yes\[*) head= ;;
        yes*) continue ;;
        esac
        printf '%s\n' "$line"
    done <"$project/contrib/$1"
}

install_service() { # folder or set of a DJ or nothing, its fallback or nothing, options of the server
    local shown name same folder=$1 fallback=$2 units=("$unit_name") crowd_options=() dj_options=()
    shift 2
    choose_kind
    need_systemd
    unset "${!CROWDSTREAM_@}"  # the service does not inherit them
    case $folder in "" | /* | label:*) ;; *) folder=$PWD/$folder ;; esac
    dj_folder=$folder
    case $fallback in "" | /* | label:*) ;; *) fallback=$PWD/$fallback ;; esac
    if [ -n "$account" ]; then
        # New files in .venv/ must belong to the user.
        as_account "$self" --install-only || fail "the server could not be installed; see above."
    else
        install_server
    fi
    if [ "$kind" = system ] && [ -z "$account" ]; then
        case $project:$(readlink -f "$venv/bin/python") in
        /root/* | /home/* | *:/root/* | *:/home/*)
            fail "$project belongs to root, and a service should not run as root. Run this through" \
                "sudo as the intended user, or move the project to /opt/crowdstream."
            ;;
        esac
    fi
    same=
    shown=$(as_account "$venv/bin/python" "$project/audio_server.py" --show-config "$@") ||
        fail "the service was not installed: its options are wrong; see above."
    [ -z "$folder" ] || choose_dj "$shown" "$@"
    write_unit "$unit" server "$shown" "$venv/bin/python" "$project/audio_server.py" \
        "$@" ${crowd_options[@]+"${crowd_options[@]}"}
    same=$unchanged
    if [ -n "$folder" ]; then
        units+=("$dj_name")
        write_unit "$dj_unit" dj "$shown" "$venv/bin/python" -P -m crowdstream dj "$folder" \
            "${dj_options[@]}"
    elif [ -e "$dj_unit" ]; then
        "${manager[@]}" disable --now "$dj_name" || true
        rm -f -- "$dj_unit"
        say "no folder was given, so there is no DJ any more: removed $dj_unit"
    fi
    compile_for_service
    install_governor
    "${manager[@]}" daemon-reload
    "${manager[@]}" enable "${units[@]}"
    # The command returns when the server is ready to play. A running server is restarted, except
    # if only what the DJ plays has changed: then the music plays on.
    for name in "${units[@]}"; do
        if [ "$name$same" = "${unit_name}yes" ] && "${manager[@]}" is-active --quiet "$name"; then
            "${manager[@]}" reload "$name" || true
            say "unchanged, so it plays on: $name (to restart it: ${manager[*]} restart $name)"
            continue
        fi
        "${manager[@]}" restart "$name" || fail "$name does not start; for the reason, see:" \
            "    ${journal[*]} -n 30"
    done
    say "running, and started at each boot from now on: ${units[*]}. Log: ${journal[*]} -f"
    advise
}

# Sets the CPU frequency's governor now and at each boot, where the system has one.
install_governor() {
    local policies=("${DESTDIR:-}"/sys/devices/system/cpu/cpufreq/policy*/scaling_governor)
    [ -n "$governor_unit" ] && [ -e "${policies[0]}" ] || return 0
    template_body "$governor_name" >"$governor_unit.new"
    mv "$governor_unit.new" "$governor_unit"
    say "written: $governor_unit"
    "${manager[@]}" daemon-reload
    "${manager[@]}" enable "$governor_name"
    "${manager[@]}" restart "$governor_name" ||
        say "the CPU governor could not be set; see: journalctl -u ${governor_name%.service}"
}

write_unit() { # file, server or dj, output of --show-config, command; sets unchanged
    local file=$1
    shift
    mkdir -p "${file%/*}"
    render_unit "$@" >"$file.new"
    unchanged=
    if [ -e "$file" ] && [ "$(<"$file")" = "$(<"$file.new")" ]; then unchanged=yes; fi
    mv "$file.new" "$file"
    say "written: $file"
}

# Sets dj_options, and the server's crowd_options: both use the same movement map.
choose_dj() { # output of --show-config; options of the server
    local shown=$1 host port crowd folder_name
    port=$(setting "$shown" port 57120)
    [ "$port" != 0 ] || fail "the DJ must know the server's port: --port 0 takes any"
    crowd=$(setting "$shown" movement_map '')
    crowd_options=()
    if [ -z "$crowd" ]; then
        crowd=$project/configs/crowd.toml
        crowd_options=(--movement-map "$crowd")
    fi
    dj_options=(--port "$port" --crowd "$crowd")
    host=$(setting "$shown" osc_host 127.0.0.1)
    case $host in 127.0.0.1 | localhost | 0.0.0.0 | ::) ;; *) dj_options+=(--host "$host") ;; esac
    [ -z "$fallback" ] || dj_options+=(--dj-fallback "$fallback")
    # Checked now, because later only the log would show it. A folder that is missing has a fallback.
    for folder_name in "$folder" "$fallback"; do
        case $folder_name in "" | label:*) continue ;; esac
        [ -e "$folder_name" ] || continue
        as_account test -r "$folder_name" ||
            fail "$account may not read $folder_name: the DJ would play nothing." \
                "Nothing was installed."
    done
}

# Compiles the kernels into the service's own cache, so that its first start is fast. For a dynamic
# user, they are compiled at the first start.
compile_for_service() {
    local cache=${DESTDIR:-}/var/cache
    journal=(journalctl -u crowdstream)
    [ "$kind" != user ] || journal=(journalctl --user -u crowdstream)
    [ ! -e "$dj_unit" ] || journal+=(-u "${dj_name%.service}")
    if [ "$kind" = user ]; then
        run_module crowdstream compile || fail "the kernels did not compile; see above."
    elif [ -n "$account" ]; then
        mkdir -p "$cache/crowdstream"
        chown "$account:" "$cache/crowdstream"
        as_account env XDG_CACHE_HOME="$cache" "$venv/bin/python" -P -m crowdstream compile ||
            fail "the kernels did not compile; see above."
    else
        say "the first start compiles the mixing kernels: it takes a minute or more"
    fi
}

advise() {
    [ "$kind" = user ] || return 0
    local user rtprio root_command
    user=$(id -un)
    if [ "$(loginctl show-user "$user" --property=Linger --value 2>/dev/null)" != yes ]; then
        as_root_text "loginctl enable-linger $user"
        say "it runs while $user is logged in. To start it at boot:" "$root_command"
    fi
    rtprio=$(ulimit -r)
    if [ "$rtprio" != unlimited ] && [ "$rtprio" -lt 70 ]; then
        say "$user may not use real-time priority; crowdstream doctor shows how to allow it"
    fi
}

uninstall_service() {
    choose_kind
    need_systemd
    [ -e "$unit" ] || [ -e "$dj_unit" ] || fail "there is no $unit: the service is not installed${DESTDIR:+ in $DESTDIR}" \
        "(root manages the system service, and each user their own)."
    if [ -e "$dj_unit" ]; then
        "${manager[@]}" disable --now "$dj_name" || true
    fi
    "${manager[@]}" disable --now "$unit_name" || true
    if [ -n "$governor_unit" ] && [ -e "$governor_unit" ]; then
        "${manager[@]}" disable --now "$governor_name" || true  # which restores the earlier one
        rm -f -- "$governor_unit"
    fi
    rm -f -- "$unit" "$dj_unit"
    "${manager[@]}" daemon-reload
    say "the service was removed. Recordings, settings and compiled kernels are kept."
}
