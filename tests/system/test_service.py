"""The systemd unit, as --install-service writes it, and what is done around it.

systemctl and its like are fakes that take notes; systemd-analyze is the real one.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.environment import child_environment
from tests.support.osc_client import until
from tests.system.test_scripts import INSTALLATION, Sandbox

# As systemctl of a running system; STATE stands in for what is-system-running says.
SYSTEMCTL = """#!/bin/bash
if [[ $* == *is-system-running ]]; then
    printf '%s\\n' "${STATE:-degraded}"
    exit 1
fi
[[ $* != *is-active* ]] || exit "${ACTIVE_STATUS:-3}"
printf 'systemctl %s\\n' "$*" >>"$NOTES"
[[ $* != *restart* ]] || exit "${RESTART_STATUS:-0}"
"""
RUNUSER = """#!/bin/bash
printf 'runuser %s\\n' "$*" >>"$NOTES"
exec "${@:4}"
"""
NOTE = """#!/bin/bash
printf '%s %s\\n' "${0##*/}" "$*" >>"$NOTES"
"""
ID = """#!/bin/bash
case $1 in -un) echo dj ;; *) echo "$WHO" ;; esac
"""
# What the server's --show-config prints comes from a file beside the fakes.
SHOW = """#!/bin/bash
if [[ $* == *--show-config* ]]; then
    [[ $* != *--wrong* ]] || { echo "crowdstream: wrong" >&2; exit 2; }
    cat "${NOTES%/*}/shown" 2>/dev/null
fi
"""


class Machine(Sandbox):
    """A sandbox with systemd; `root` stands for the file system's root."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.root = folder / "root"
        self.shown = folder / "shown"
        self.home = folder / "home"
        self.fake("systemctl", SYSTEMCTL)
        self.fake("runuser", RUNUSER)
        self.fake("chown", NOTE)
        self.fake("loginctl", "#!/bin/bash\necho no\n")
        self.fake("id", ID)
        self.fake("getent", '#!/bin/bash\necho "$2:x:1000:1000:,,,:/home/$2:/bin/bash"\n')
        (self.fakes / "test").symlink_to("/usr/bin/test")
        python = (self.fakes / "python3").read_text()
        self.fake("python3", SHOW + python.removeprefix("#!/bin/bash\n"))

    def service(
        self, *options: str, who: int = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`--install-service` unless the options say otherwise, as the user of that number."""
        if "--uninstall-service" not in options:
            options = ("--install-service", *options)
        variables = {"DESTDIR": str(self.root), "HOME": str(self.home), "WHO": str(who)}
        return self.run("start-crowdstream.sh", *options, env={**variables, **(env or {})})

    @property
    def dj_unit(self) -> Path:
        return self.system_unit.with_name("crowdstream-dj.service")

    @property
    def governor_unit(self) -> Path:
        return self.system_unit.with_name("crowdstream-governor.service")

    def with_cpufreq(self) -> Path:
        """Give the machine two frequency policies; returns their folder."""
        folder = self.root / "sys/devices/system/cpu/cpufreq"
        for number, name in enumerate(("ondemand", "schedutil")):
            policy = folder / f"policy{number}"
            policy.mkdir(parents=True)
            (policy / "scaling_governor").write_text(name + "\n")
        return folder

    @property
    def system_unit(self) -> Path:
        return self.root / "etc/systemd/system/crowdstream.service"

    @property
    def user_unit(self) -> Path:
        return self.home / ".config/systemd/user/crowdstream.service"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def values(unit: Path, name: str) -> list[str]:
    """All values of a setting of the unit."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_through_sudo_it_is_a_service_of_the_machine_that_runs_as_the_caller(
    machine: Machine,
) -> None:
    result = machine.service("--device", "USB", env={"SUDO_USER": "dj"})
    assert result.returncode == 0, result.stderr
    unit = machine.system_unit
    assert values(unit, "User") == ["dj"]
    assert values(unit, "WantedBy") == ["multi-user.target"]
    project = machine.project
    assert values(unit, "ExecStart") == [
        f'"{project}/.venv/bin/python" "{project}/audio_server.py" "--device" "USB"'
    ]
    notes = machine.notes()
    compiled = notes.index("python -P -m crowdstream compile", len(INSTALLATION) + 1)
    assert notes[compiled - 1].startswith(f"runuser -u dj -- env XDG_CACHE_HOME={machine.root}/var")
    assert notes[compiled + 1 :] == [
        "systemctl daemon-reload",
        "systemctl enable crowdstream.service",
        "systemctl restart crowdstream.service",
    ]
    # Nothing of the user's environment was made by root.
    assert notes[0].startswith("runuser -u dj -- PROJECT/start-crowdstream.sh --install-only")
    assert "journalctl -u crowdstream -f" in result.stdout


def test_a_user_gets_a_service_of_the_user(machine: Machine) -> None:
    result = machine.service(who=1000)
    assert result.returncode == 0, result.stderr
    unit = machine.user_unit
    assert values(unit, "WantedBy") == ["default.target"]
    assert not values(unit, "User") and not values(unit, "DynamicUser")
    # What a user's manager can't do would keep the service from starting.
    for name in ("ProtectSystem", "PrivateTmp", "CapabilityBoundingSet", "DeviceAllow"):
        assert not values(unit, name)
    assert "SystemCallFilter=@system-service" in unit.read_text()
    assert machine.notes()[-3:] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable crowdstream.service",
        "systemctl --user restart crowdstream.service",
    ]
    assert "loginctl enable-linger dj" in result.stdout
    assert not machine.system_unit.exists()


def test_root_alone_runs_it_as_the_owner_or_as_nobody_in_particular(machine: Machine) -> None:
    assert machine.service(env={"OWNER": "pi"}).returncode == 0
    assert values(machine.system_unit, "User") == ["pi"]
    result = machine.service()
    assert result.returncode == 0, result.stderr
    assert values(machine.system_unit, "DynamicUser") == ["yes"]
    assert not values(machine.system_unit, "User")
    assert "first start compiles" in result.stdout


def test_options_reach_the_server_as_they_are(machine: Machine) -> None:
    odd = ["100 %i", 'a "quote"', "back\\slash", "$HOME ${X}", "it's", "@WRITABLE@ & more", "é"]
    words = [word for one in odd for word in ("--device", one)]
    assert machine.service(*words, env={"SUDO_USER": "dj"}).returncode == 0
    (command,) = values(machine.system_unit, "ExecStart")
    escaped = [
        "100 %%i", 'a \\"quote\\"', "back\\\\slash", "$$HOME $${X}", "it's", "@WRITABLE@ & more",
        "é",
    ]  # fmt: skip
    assert command.endswith(" ".join(f'"--device" "{word}"' for word in escaped))
    verify(machine.system_unit)
    refused = machine.service("--device", "two\nlines", env={"SUDO_USER": "dj"})
    assert refused.returncode == 1 and "control characters" in refused.stderr


def test_where_recordings_and_logs_go_is_writable(machine: Machine) -> None:
    machine.service(env={"SUDO_USER": "dj"})
    library = '"-/home/dj/.local/share/crowdstream"'
    assert values(machine.system_unit, "ReadWritePaths") == [library]
    default = '"CROWDSTREAM_RECORD_FOLDER=%S/crowdstream/recordings"'
    assert default in values(machine.system_unit, "Environment")
    machine.shown.write_text(
        'record_folder = "/home/dj/My Sets"  # file config.toml\n'
        'log_file = "/var/log/night/a.log"   # flag --log-file\n'
        '# a         = (an empty deck)       # default\n'
    )
    machine.service(env={"SUDO_USER": "dj"})
    folders = ['"-/home/dj/My Sets"', '"-/var/log/night"', library]
    assert values(machine.system_unit, "ReadWritePaths") == folders
    assert default not in values(machine.system_unit, "Environment")
    verify(machine.system_unit)


def test_wrong_options_install_nothing(machine: Machine) -> None:
    result = machine.service("--wrong", env={"SUDO_USER": "dj"})
    assert result.returncode == 1
    assert "its options are wrong" in result.stderr
    assert not machine.system_unit.exists()
    assert not any("systemctl" in note for note in machine.notes())


@pytest.mark.parametrize("state", ["offline", "unknown", "none at all"])
def test_without_systemd_it_says_so_and_does_nothing(machine: Machine, state: str) -> None:
    if state == "none at all":
        machine.without("systemctl")
    for option in ("--install-service", "--uninstall-service"):
        result = machine.service(option, env={"STATE": state})
        assert result.returncode == 1
        assert "systemd is not running here" in result.stderr
        assert machine.notes() == []
        assert not machine.root.exists()


def test_a_service_that_does_not_start_says_where_to_look(machine: Machine) -> None:
    result = machine.service(env={"SUDO_USER": "dj", "RESTART_STATUS": "1"})
    assert result.returncode == 1
    assert "journalctl -u crowdstream -n 30" in result.stderr


@pytest.mark.parametrize("who", [0, 1000])
def test_it_is_taken_away_again(machine: Machine, who: int) -> None:
    unit = machine.user_unit if who else machine.system_unit
    absent = machine.service("--uninstall-service", who=who)
    assert absent.returncode == 1 and "is not installed" in absent.stderr
    assert machine.service(who=who).returncode == 0
    assert unit.exists()
    result = machine.service("--uninstall-service", who=who)
    assert result.returncode == 0, result.stderr
    assert not unit.exists()
    user = "--user " if who else ""
    assert machine.notes() == [
        f"systemctl {user}disable --now crowdstream.service", f"systemctl {user}daemon-reload",
    ]  # fmt: skip


# The DJ beside it ------------------------------------------------------------------------------


def with_music(machine: Machine) -> str:
    folder = machine.project / "My Music"
    folder.mkdir()
    return str(folder)


@pytest.mark.parametrize("way", ["--dj FOLDER", "--dj=FOLDER", "FOLDER"])
def test_with_a_folder_server_and_dj_are_installed(machine: Machine, way: str) -> None:
    folder = with_music(machine)
    words = [word.replace("FOLDER", folder) for word in way.split()]
    result = machine.service("--device", "USB", *words, env={"SUDO_USER": "dj"})
    assert result.returncode == 0, result.stderr
    project, server, dj = machine.project, machine.system_unit, machine.dj_unit
    crowd = f"{project}/configs/crowd.toml"
    python = f'"{project}/.venv/bin/python"'
    assert values(server, "ExecStart") == [
        f'{python} "{project}/audio_server.py" "--device" "USB" "--movement-map" "{crowd}"'
    ]
    assert values(dj, "ExecStart") == [
        f'{python} "-P" "-m" "crowdstream" "dj" "{folder}" "--port" "57120" "--crowd" "{crowd}"'
    ]
    assert values(dj, "User") == values(server, "User") == ["dj"]
    assert values(dj, "Wants") == values(dj, "After") == ["crowdstream.service"]
    assert not values(dj, "Requires") and not values(dj, "PartOf"), "it outlives the server"
    # A set that has ended is not begun again, and a folder that is missing is tried again.
    assert values(dj, "Restart") == ["on-failure"]
    assert not values(dj, "RestartPreventExitStatus") and not values(dj, "WatchdogSec")
    assert machine.notes()[-4:] == [
        "systemctl daemon-reload",
        "systemctl enable crowdstream.service crowdstream-dj.service",
        "systemctl restart crowdstream.service",
        "systemctl restart crowdstream-dj.service",
    ]
    assert "journalctl -u crowdstream -u crowdstream-dj -f" in result.stdout


@pytest.mark.parametrize("words", [("label:MUSIC",), ("--dj", "/media/missing stick")])
def test_a_dj_of_a_stick_may_keep_the_library_on_it(
    machine: Machine, words: tuple[str, ...]
) -> None:
    folder = with_music(machine)
    result = machine.service(*words, "--dj-fallback", folder, env={"SUDO_USER": "dj"})
    assert result.returncode == 0, result.stderr
    (command,) = values(machine.dj_unit, "ExecStart")
    assert f'"dj" "{words[-1]}" ' in command and f'"--dj-fallback" "{folder}"' in command
    (server,) = values(machine.system_unit, "ExecStart")
    assert "fallback" not in server
    for folder in ("-/media", "-/run/media", "-/mnt"):
        assert folder in values(machine.dj_unit, "ReadWritePaths")
        assert folder not in values(machine.system_unit, "ReadWritePaths")


def test_the_dj_has_the_rights_of_the_server_and_no_more(machine: Machine) -> None:
    machine.service(with_music(machine), env={"SUDO_USER": "dj"})
    of_audio = {
        "Type", "NotifyAccess", "SupplementaryGroups", "TimeoutStartSec", "WatchdogSec", "Restart",
        "RestartSec", "RestartPreventExitStatus", "LimitRTPRIO", "LimitMEMLOCK", "LimitNICE",
        "OOMScoreAdjust", "MemoryMax", "DeviceAllow", "Description", "ExecStart", "After",
        "ExecReload",
    }  # fmt: skip
    ours, theirs = (
        {line for line in unit.read_text().splitlines() if "=" in line and line[0] not in "#["}
        for unit in (machine.dj_unit, machine.system_unit)
    )
    assert {line.partition("=")[0] for line in theirs - ours} <= of_audio
    assert {line.partition("=")[0] for line in ours - theirs} <= of_audio | {"Wants", "Nice"}
    assert len(ours & theirs) > 25
    for unit in (machine.dj_unit, machine.system_unit):
        assert '"-/home/dj/.local/share/crowdstream"' in values(unit, "ReadWritePaths")
        assert "@" not in re.sub("@(system-service|privileged|keyring|chown)", "", unit.read_text())


def test_without_an_account_both_are_the_same_user_with_one_library(machine: Machine) -> None:
    assert machine.service(with_music(machine)).returncode == 0
    assert values(machine.dj_unit, "DynamicUser") == ["yes"]
    assert values(machine.dj_unit, "User") == ["crowdstream"], "as systemd names the server's"
    for unit in (machine.dj_unit, machine.system_unit):
        assert '"XDG_DATA_HOME=%S"' in values(unit, "Environment")


def test_the_dj_finds_the_server_that_the_settings_describe(machine: Machine) -> None:
    machine.shown.write_text(
        'port         = 57130                 # file config.toml\n'
        'osc_host     = "10.0.0.7"            # file config.toml\n'
        'movement_map = "/home/dj/my crowd.toml"  # file config.toml\n'
        '# http_port  = (none)                # default\n'
    )
    folder = with_music(machine)
    # Variables of this shell are none of the service's.
    env = {"SUDO_USER": "dj", "CROWDSTREAM_PORT": "4000", "CROWDSTREAM_MOVEMENT_MAP": "/no"}
    assert machine.service(folder, env=env).returncode == 0
    (command,) = values(machine.dj_unit, "ExecStart")
    assert command.endswith(
        '"--port" "57130" "--crowd" "/home/dj/my crowd.toml" "--host" "10.0.0.7"'
    )
    assert "--movement-map" not in values(machine.system_unit, "ExecStart")[0]
    machine.shown.write_text("port = 0  # file config.toml\n")
    refused = machine.service(folder, env=env)
    assert refused.returncode == 1 and "--port 0 takes any" in refused.stderr


def test_a_set_and_a_relative_folder_are_named_in_full(machine: Machine) -> None:
    with_music(machine)
    (machine.project / "night.toml").touch()
    for name in ("night.toml", "My Music"):
        assert machine.service("--dj", name, env={"SUDO_USER": "dj"}).returncode == 0
        assert f'"dj" "{machine.project}/{name}"' in values(machine.dj_unit, "ExecStart")[0]


def test_music_that_the_account_may_not_read_installs_nothing(machine: Machine) -> None:
    machine.without("test")
    machine.fake("test", "#!/bin/bash\nexit 1\n")
    result = machine.service(with_music(machine), env={"SUDO_USER": "dj"})
    assert result.returncode == 1 and "dj may not read" in result.stderr
    assert not machine.system_unit.exists() and not machine.dj_unit.exists()


@pytest.mark.parametrize("who", [0, 1000])
def test_both_are_taken_away_again(machine: Machine, who: int) -> None:
    folder = with_music(machine)
    assert machine.service(folder, who=who).returncode == 0
    unit = machine.user_unit if who else machine.system_unit
    dj = unit.with_name("crowdstream-dj.service")
    assert unit.exists() and dj.exists()
    # Options without a folder describe a machine without a DJ.
    result = machine.service(who=who)
    assert unit.exists() and not dj.exists() and "no DJ any more" in result.stdout
    assert machine.service(folder, who=who).returncode == 0
    assert machine.service("--uninstall-service", who=who).returncode == 0
    assert not unit.exists() and not dj.exists()
    user = "--user " if who else ""
    assert machine.notes() == [
        f"systemctl {user}disable --now crowdstream-dj.service",
        f"systemctl {user}disable --now crowdstream.service", f"systemctl {user}daemon-reload",
    ]  # fmt: skip


# While it plays --------------------------------------------------------------------------------


def test_a_reload_of_the_unit_asks_the_server_to_read_its_settings(machine: Machine) -> None:
    machine.service(with_music(machine), env={"SUDO_USER": "dj"})
    (command,) = values(machine.system_unit, "ExecReload")
    words = shlex.split(command.replace("$$", "$"))
    # Under nohup, a test run ignores the signal, and so would its children.
    with subprocess.Popen(["env", "--default-signal=HUP", "sleep", "60"]) as process:
        program = Path(f"/proc/{process.pid}/comm")
        until(lambda: program.read_text() == "sleep\n", what="env has reset the signal")
        subprocess.run(words, env=child_environment(MAINPID=str(process.pid)), check=True)
        assert process.wait(60) == -signal.SIGHUP
    assert not values(machine.dj_unit, "ExecReload")


def test_other_music_does_not_interrupt_a_server_that_plays(machine: Machine) -> None:
    folder, other = with_music(machine), machine.project / "Other"
    other.mkdir()
    env = {"SUDO_USER": "dj", "ACTIVE_STATUS": "0"}
    machine.service(folder, env=env)
    assert "systemctl restart crowdstream.service" in machine.notes(), "a new unit"
    result = machine.service(str(other), env=env)
    assert "unchanged, so it plays on: crowdstream.service" in result.stdout
    assert f'"dj" "{other}"' in values(machine.dj_unit, "ExecStart")[0]
    assert machine.notes()[-2:] == [
        "systemctl reload crowdstream.service", "systemctl restart crowdstream-dj.service",
    ]  # fmt: skip
    machine.service(str(other), env={**env, "ACTIVE_STATUS": "3"})
    assert "systemctl restart crowdstream.service" in machine.notes(), "it was not running"
    machine.service("--device", "USB", str(other), env=env)
    assert "systemctl restart crowdstream.service" in machine.notes(), "its options have changed"


# The processor's frequency ---------------------------------------------------------------------


def commands(unit: Path, policies: Path, runtime: Path) -> dict[str, list[str]]:
    """The commands of the governor's unit as systemd would run them, on other folders."""
    found = {}
    for name in ("ExecStart", "ExecStop"):
        (line,) = values(unit, name)
        words = shlex.split(line)
        assert words[:2] == ["/bin/sh", "-c"]
        text = words[2].replace("$$", "$").replace("/sys/devices/system/cpu/cpufreq", str(policies))
        found[name] = ["env", f"RUNTIME_DIRECTORY={runtime}", "sh", "-ec", text]
    return found


def test_the_governor_is_set_at_each_boot_and_restored(machine: Machine, tmp_path: Path) -> None:
    assert machine.service(env={"SUDO_USER": "dj"}).returncode == 0
    assert not machine.governor_unit.exists(), "this machine does not change the frequency"
    policies = machine.with_cpufreq()
    result = machine.service(env={"SUDO_USER": "dj"})
    assert result.returncode == 0, result.stderr
    unit = machine.governor_unit
    assert values(unit, "WantedBy") == ["multi-user.target"]
    assert values(unit, "Before") == ["crowdstream.service"]
    notes = machine.notes()
    assert "systemctl enable crowdstream-governor.service" in notes
    begin = notes.index("systemctl restart crowdstream-governor.service")
    assert begin < notes.index("systemctl restart crowdstream.service")
    # Root runs no file that the service's user owns.
    assert str(machine.project) not in unit.read_text()
    runtime = tmp_path / "run"
    runtime.mkdir()
    run = commands(unit, policies, runtime)

    def governors() -> list[str]:
        files = [policies / f"policy{n}" / "scaling_governor" for n in range(2)]
        return [file.read_text().strip() for file in files]

    subprocess.run(run["ExecStart"], check=True)
    assert governors() == ["performance", "performance"]
    (policies / "policy1" / "scaling_governor").write_text("powersave\n")  # by a person
    subprocess.run(run["ExecStop"], check=True)
    assert governors() == ["ondemand", "powersave"]
    (policies / "policy0" / "scaling_governor").unlink()
    (policies / "policy0" / "scaling_governor").mkdir()
    failed = subprocess.run(run["ExecStart"], check=False, capture_output=True)
    assert failed.returncode == 1 and governors_of(policies, 1) == "performance"


def governors_of(policies: Path, number: int) -> str:
    return (policies / f"policy{number}" / "scaling_governor").read_text().strip()


def test_the_governor_goes_with_the_service(machine: Machine) -> None:
    machine.with_cpufreq()
    assert machine.service(env={"SUDO_USER": "dj"}).returncode == 0
    assert machine.governor_unit.exists()
    assert machine.service("--uninstall-service").returncode == 0
    assert not machine.governor_unit.exists()
    assert "systemctl disable --now crowdstream-governor.service" in machine.notes()


def test_a_user_service_sets_no_governor(machine: Machine) -> None:
    machine.with_cpufreq()
    assert machine.service(who=1000).returncode == 0
    assert not [note for note in machine.notes() if "governor" in note]
    assert not machine.user_unit.with_name("crowdstream-governor.service").exists()


def test_a_governor_that_cannot_be_set_does_not_keep_the_server_from_starting(
    machine: Machine,
) -> None:
    machine.with_cpufreq()
    failing = '[[ $* != *"restart crowdstream-governor"* ]] || exit 1'
    shebang = "#!/bin/bash\n"
    machine.fake("systemctl", SYSTEMCTL.replace(shebang, f"{shebang}{failing}\n"))
    result = machine.service(env={"SUDO_USER": "dj"})
    assert result.returncode == 0
    assert "the CPU governor could not be set" in result.stdout


def verify(unit: Path) -> None:
    """Have systemd read the unit; fails on anything that it does not like."""
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: apt-get install systemd"
    done = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    about_it = [line for line in done.stderr.splitlines() if "crowdstream" in line]
    assert (done.returncode, about_it) == (0, [])


def test_systemd_takes_the_units(machine: Machine) -> None:
    machine.service(env={"SUDO_USER": "dj"})
    verify(machine.system_unit)
    machine.service()
    verify(machine.system_unit)
    machine.service(who=1000)
    verify(machine.user_unit)
    machine.with_cpufreq()
    machine.service()
    verify(machine.governor_unit)
    folder = with_music(machine)
    for variables in ({"SUDO_USER": "dj"}, {}):
        machine.service(folder, env=variables)
        verify(machine.dj_unit)
    machine.service(folder, who=1000)
    verify(machine.user_unit.with_name("crowdstream-dj.service"))
    broken = machine.root / "crowdstream-broken.service"
    broken.write_text(machine.system_unit.read_text() + "NoSuchThing=crowdstream\n")
    with pytest.raises(AssertionError):
        verify(broken)


# Rights that it does without, as systemd-analyze security names them.
CLOSED = {
    "AmbientCapabilities", "CapabilityBoundingSet_CAP_SYS_ADMIN",
    "CapabilityBoundingSet_CAP_SYS_RAWIO", "LockPersonality", "NoNewPrivileges", "PrivateTmp",
    "ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs",
    "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProtectSystem",
    "RestrictAddressFamilies_AF_NETLINK", "RestrictAddressFamilies_AF_PACKET",
    "RestrictAddressFamilies_OTHER", "RestrictNamespaces_user", "RestrictSUIDSGID",
    "SystemCallArchitectures", "SystemCallFilter_clock", "SystemCallFilter_debug",
    "SystemCallFilter_module", "SystemCallFilter_mount", "SystemCallFilter_raw_io",
    "SystemCallFilter_reboot", "SystemCallFilter_swap", "UserOrDynamicUser",
}  # fmt: skip


def test_the_tests_install_what_they_check_the_unit_with(machine: Machine) -> None:
    machine.without("systemd-analyze")
    assert machine.run("run-tests.sh", "system", env={"WHO": "0"}).returncode == 0
    (call,) = [note for note in machine.notes() if note.startswith("apt-get")]
    assert "systemd" in call.split()


def test_it_has_no_more_rights_than_needed(machine: Machine) -> None:
    machine.service(env={"SUDO_USER": "dj"})
    look = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    done = subprocess.run(
        [*look, "--json=short", str(machine.system_unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    exposure = {entry["json_field"]: entry["exposure"] for entry in json.loads(done.stdout)}
    assert exposure.keys() >= CLOSED
    assert not {name for name in CLOSED if float(exposure[name] or 0) > 0}
    # What it needs: machine code made at run time, and a priority of its own choice.
    assert float(exposure["MemoryDenyWriteExecute"]) > 0
    assert float(exposure["RestrictRealtime"]) > 0
    total = [*look, "--threshold=25", str(machine.system_unit)]  # of 100; an open service has 96
    result = subprocess.run(total, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout[-300:]
