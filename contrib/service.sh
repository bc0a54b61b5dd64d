# shellcheck shell=bash
# Installs the server as a systemd service, and takes it away again. To be sourced by
# start-crowdstream.sh, with $self and $project set, after contrib/install.sh.
#
# As root: a service of the system, which runs as the user who called sudo, or as the owner of the
# project's folder; where root owns it, as a user that exists only while it runs. Otherwise: a
# service of the user, with the sound server of the user.

unit_name=crowdstream.service

# Sets kind, account (the user it runs as, empty for one of its own) and unit, the file.
choose_kind() {
    if [ "$(id -u)" -ne 0 ]; then
        kind=user
        account=
        unit=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/$unit_name
        manager=(systemctl --user)
        return
    fi
    kind=system
    unit=${DESTDIR:-}/etc/systemd/system/$unit_name
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
        fail "systemd does not run here, or has no session for this user: there is nothing that" \
            "would start the service. docs/service.md says what else can at boot."
        ;;
    esac
}

as_account() {
    if [ -n "$account" ]; then runuser -u "$account" -- "$@"; else "$@"; fi
}

# One word as systemd reads it in a command: quoted, nothing expanded.
unit_word() { # word
    local word=$1
    case $word in *[[:cntrl:]]*) fail "a service's options can't hold control characters" ;; esac
    word=${word//\\/\\\\}
    word=${word//\"/\\\"}
    word=${word//%/%%}
    printf '"%s"' "${word//\$/\$\$}"
}

# Prints a line for each place outside of the service's own that the settings have it write to.
# $1: what --show-config printed.
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
    [ "$kind" = system ] || return 0  # a service of the user may write where the user may
    if [[ $'\n'$1 != *$'\n'record_folder\ * ]]; then
        printf 'Environment="CROWDSTREAM_RECORD_FOLDER=%%S/crowdstream/recordings"\n'
    fi
    for name in ${folders[@]+"${folders[@]}"}; do
        printf 'ReadWritePaths=%s\n' "$(unit_word "-$name")"
    done
}

# Prints the unit. $1: what --show-config printed; the rest: options of the server.
render_unit() {
    local line word command folder user_line writable shown=$1
    shift
    command="$(unit_word "$venv/bin/python") $(unit_word "$project/audio_server.py")"
    for word in "$@"; do command+=" $(unit_word "$word")"; done
    folder=${PWD//%/%%}
    user_line=DynamicUser=yes
    [ -z "$account" ] || user_line=User=$account
    writable=$(writable_lines "$shown")
    while IFS= read -r line; do
        case $line in
        "@system "*) [ "$kind" = system ] || continue ;;
        "@user "*) [ "$kind" = user ] || continue ;;
        esac
        line=${line#@system }
        line=${line#@user }
        case $line in
        SupplementaryGroups=audio) grep -q '^audio:' /etc/group || continue ;;
        ExecStart=*) line=ExecStart=$command ;;
        WorkingDirectory=*) line=WorkingDirectory=-$folder ;;
        @ACCOUNT@) line=$user_line ;;
        @WRITABLE@) line=$writable ;;
        esac
        printf '%s\n' "$line"
    done < <(template_body)
}

# The template without the words about being one.
template_body() {
    local line head=yes
    while IFS= read -r line; do
        case $head$line in
        yes\[*) head= ;;
        yes*) continue ;;
        esac
        printf '%s\n' "$line"
    done <"$project/contrib/crowdstream.service"
}

install_service() { # options of the server
    local shown
    choose_kind
    need_systemd
    if [ -n "$account" ]; then
        # What is made in .venv/ belongs to the user.
        as_account "$self" --install-only || fail "the server could not be installed; see above."
    else
        install_server
    fi
    if [ "$kind" = system ] && [ -z "$account" ]; then
        case $project:$(readlink -f "$venv/bin/python") in
        /root/* | /home/* | *:/root/* | *:/home/*)
            fail "$project belongs to root, and a service should not be root. Call this through" \
                "sudo as the user that it shall run as, or move the project to /opt/crowdstream."
            ;;
        esac
    fi
    shown=$(as_account "$venv/bin/python" "$project/audio_server.py" --show-config "$@") ||
        fail "the service was not installed: its options are wrong; see above."
    mkdir -p "${unit%/*}"
    render_unit "$shown" "$@" >"$unit.new"
    mv "$unit.new" "$unit"
    say "written: $unit"
    compile_for_service
    "${manager[@]}" daemon-reload
    "${manager[@]}" enable "$unit_name"
    # It returns when the server is ready to play; a running one is started anew.
    "${manager[@]}" restart "$unit_name" || fail "the service does not start; this says why:" \
        "    ${journal[*]} -n 30"
    say "the service runs, and starts by itself from now on. Its log: ${journal[*]} -f"
    advise
}

# The kernels in the service's own cache, so that its first start is as fast as any. A user that
# exists only while the service runs compiles them at the first start.
compile_for_service() {
    local cache=${DESTDIR:-}/var/cache
    journal=(journalctl -u crowdstream)
    if [ "$kind" = user ]; then
        journal=(journalctl --user -u crowdstream)
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
        say "it runs while $user is logged in. To have it start with the machine:" "$root_command"
    fi
    rtprio=$(ulimit -r)
    if [ "$rtprio" != unlimited ] && [ "$rtprio" -lt 70 ]; then
        say "$user may not use real-time priority; crowdstream doctor says how to allow it"
    fi
}

uninstall_service() {
    choose_kind
    need_systemd
    [ -e "$unit" ] || fail "there is no $unit: the service is not installed${DESTDIR:+ in $DESTDIR}" \
        "(as root it is one of the system, as a user one of that user)."
    "${manager[@]}" disable --now "$unit_name" || true
    rm -f -- "$unit"
    "${manager[@]}" daemon-reload
    say "the service is gone. Recordings and settings are kept, and so are compiled kernels."
}
