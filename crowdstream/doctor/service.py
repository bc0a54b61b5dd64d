"""The installed services: units, the DJ's music, and the library of its user.

The units are those that `start-crowdstream.sh --install-service` writes. A machine without them is
in order: the server can be started in other ways.
"""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crowdstream.doctor.check import FAIL, OK, WARN, Check, Machine
from crowdstream.library import default_path
from crowdstream.library.database import (
    LibraryCondition,
    LibraryDamaged,
    LibraryError,
    LibraryNotFound,
    examine_library,
)
from crowdstream.library.models import stamp_of
from crowdstream.library.scanner import Scanner
from crowdstream.library.stick_library import FOLDER, NAME
from crowdstream.settings import SettingError, resolve
from crowdstream.system.removable import Place, Presence, SystemPaths, look, parse_place
from crowdstream.system.text import printable

SERVER, DJ = "crowdstream.service", "crowdstream-dj.service"
GOVERNOR = "crowdstream-governor.service"
SYSTEM_FOLDER = "/etc/systemd/system"
STATE_FOLDER = "/var/lib"  # %S of a system service
PROJECT = Path(__file__).resolve().parents[2]
INSTALL = "./start-crowdstream.sh --install-service"
PROPERTIES = (
    "LoadState", "UnitFileState", "ActiveState", "Result", "NRestarts", "NeedDaemonReload",
    "ConditionResult",
)  # fmt: skip

Finding = tuple[str, str, str]
"""State, text and remedy."""


@dataclass(frozen=True)
class Unit:
    """An installed unit. `command`: the words of its ExecStart."""

    name: str
    is_system: bool
    command: tuple[str, ...]
    user: str
    """The account of a system service; empty for a dynamic one, root's, or a user service."""

    @property
    def manager(self) -> list[str]:
        """The command that manages it."""
        return ["systemctl"] if self.is_system else ["systemctl", "--user"]

    def fix(self, what: str) -> str:
        """The remedy `systemctl WHAT`, with the rights that it needs."""
        return " ".join(["sudo"] * self.is_system + [*self.manager, what])

    def options(self) -> list[str]:
        """The server's options, or the DJ's arguments, in the command."""
        for number, word in enumerate(self.command):
            if word.endswith("audio_server.py") or (word == "dj" and self.name == DJ):
                return list(self.command[number + 1 :])
        return []


def installed(machine: Machine) -> list[Unit]:
    """Return the installed units, those of the system first."""
    home = machine.environ.get("HOME", "")
    config = machine.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    found = []
    for folder in (SYSTEM_FOLDER, f"{config}/systemd/user"):
        for name in (SERVER, DJ, GOVERNOR):
            text = machine.read(f"{folder}/{name}")
            if text is not None:
                found.append(_unit(name, folder == SYSTEM_FOLDER, text))
    return found


def _unit(name: str, is_system: bool, text: str) -> Unit:
    def value(key: str) -> str:
        values: list[str] = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
        return values[-1] if values else ""

    dynamic = value("DynamicUser") == "yes"
    return Unit(name, is_system, split_command(value("ExecStart")),
                "" if dynamic else value("User"))


def split_command(text: str) -> tuple[str, ...]:
    """Split a command as `--install-service` quotes it: inside double quotes, % and $ doubled."""
    try:
        words = shlex.split(text)
    except ValueError:
        return ()
    return tuple(word.replace("%%", "%").replace("$$", "$") for word in words)


def server_options(units: Sequence[Unit]) -> list[str]:
    """Return the options of the installed server; none if it is not installed, or they are wrong.

    `state` reports wrong options.
    """
    found = next((unit.options() for unit in units if unit.name == SERVER), [])
    return [] if wrong_option(found) else found


def wrong_option(options: Sequence[str]) -> str:
    """Return why the server refuses these options; empty if it does not."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            resolve(options, prog="audio_server.py")
    except SettingError as error:
        return str(error)
    except SystemExit:
        return said.getvalue().strip().rpartition("\n")[2] or "they are not options of the server"
    return ""


# Units ---------------------------------------------------------------------------------------


def units(machine: Machine, found: Sequence[Unit]) -> Check:
    """Check which units are installed."""
    names = [unit.name for unit in found]
    data = {"units": names}
    if SERVER not in names:
        return Check("service", OK, f"not installed: {INSTALL} starts the server at each boot",
                     data=data)
    kinds = {unit.is_system for unit in found if unit.name in (SERVER, DJ)}
    if len(kinds) > 1:
        fix = f"{INSTALL.replace('--install', '--uninstall')}, with sudo for the system service"
        return Check("service", FAIL, "both the system and this user have services: only one can "
                     "use the port and the sound card", fix, data)
    return Check("service", OK, ", ".join(names), data=data)


def state(machine: Machine, unit: Unit, project: Path = PROJECT) -> Check:
    """Check one unit: that it starts this installation at each boot, and is running."""
    output = machine.run(
        [*unit.manager, "show", unit.name, f"--property={','.join(PROPERTIES)}"]
    )
    shown = dict(line.partition("=")[::2] for line in (output or "").splitlines())
    findings = list(_findings(machine, unit, project, shown))
    worst = next((s for s in (FAIL, WARN) if s in {finding[0] for finding in findings}), OK)
    if worst == OK:
        restarts = shown.get("NRestarts", "0")
        text = "running, and started at each boot"
        text += f"; restarted {restarts} times" if restarts not in ("", "0") else ""
    else:
        text = "; ".join(text for _, text, _ in findings)
    fix = "; ".join(dict.fromkeys(fix for _, _, fix in findings if fix))
    return Check(unit.name, worst, text, fix, {"command": list(unit.command), **shown})


def _findings(
    machine: Machine, unit: Unit, project: Path, shown: dict[str, str]
) -> Iterator[Finding]:
    sudo = "sudo " * unit.is_system
    if unit.name != GOVERNOR and not (unit.command and Path(unit.command[0]) in _pythons(project)):
        other = unit.command[0] if unit.command else "nothing"
        yield WARN, f"it starts another installation ({printable(other)})", f"{sudo}{INSTALL}"
    if unit.name == SERVER and (reason := wrong_option(unit.options())):
        yield FAIL, f"its options are wrong: {printable(reason)}", f"{sudo}{INSTALL}"
    if not shown:
        yield WARN, "systemd does not report its state", ""
        return
    if shown.get("NeedDaemonReload") == "yes":
        yield WARN, "its file has changed since systemd read it", unit.fix("daemon-reload")
    if shown.get("UnitFileState") != "enabled":
        yield WARN, "it is not started at boot", unit.fix(f"enable {unit.name}")
    elif not unit.is_system:
        user = machine.environ.get("USER", "")
        if user and machine.run(
            ["loginctl", "show-user", user, "--property=Linger", "--value"]
        ) == "no":
            yield WARN, "it starts when the user logs in, not at boot", (
                f"sudo loginctl enable-linger {user}"
            )
    active = shown.get("ActiveState")
    if active == "failed":
        journal = "journalctl" if unit.is_system else "journalctl --user"
        yield FAIL, f"it has failed ({shown.get('Result')})", f"{journal} -u {unit.name} -n 30"
    elif active == "activating" and int(shown.get("NRestarts") or 0) > 0:
        journal = "journalctl" if unit.is_system else "journalctl --user"
        yield FAIL, f"it ends again and again ({shown['NRestarts']} restarts)", (
            f"{journal} -u {unit.name} -n 30"
        )
    elif active != "active" and not (unit.name == GOVERNOR and shown["ConditionResult"] == "no"):
        text = "it is not running"
        if unit.name == DJ and shown.get("Result") == "success":
            text += ": the set has ended, it was stopped, or another DJ has taken over"
        yield WARN, text, unit.fix(f"start {unit.name}")


def _pythons(project: Path) -> set[Path]:
    # The interpreter of the project's environment, whose folder may be a link.
    return {project / ".venv" / "bin" / "python", project.resolve() / ".venv" / "bin" / "python"}


def running(machine: Machine, found: Sequence[Unit]) -> bool:
    """Whether an installed server is running."""
    return any(
        machine.run([*unit.manager, "is-active", unit.name]) == "active"
        for unit in found if unit.name == SERVER
    )


# The DJ's music ------------------------------------------------------------------------------


def places(machine: Machine, unit: Unit) -> tuple[list[Place], str]:
    """Return the folders that a DJ's unit plays, the main one first; or the name of its set."""
    words = unit.options()
    names = words[:1]
    if "--dj-fallback" in words[:-1]:
        names.append(words[words.index("--dj-fallback") + 1])
    if names and names[0].endswith(".toml") and not names[0].startswith("label:"):
        return [], names[0]
    return [parse_place(name) for name in names], ""


def _system_paths(machine: Machine) -> SystemPaths:
    return SystemPaths(
        machine.resolve("/dev/disk/by-label"), machine.resolve("/dev/disk/by-uuid"),
        machine.resolve("/proc/self/mountinfo"), machine.resolve("/sys/dev/block"),
    )


def music(machine: Machine, unit: Unit) -> Check:
    """Check what the DJ plays: that it is there, its user may read it, and how much is analysed."""
    name = "DJ's music"
    found, set_file = places(machine, unit)
    if set_file:
        readable = _may(machine, unit, "-r", Path(set_file))
        if not readable:
            return Check(name, FAIL, f"the set {printable(set_file)} is missing or unreadable",
                         f"{'sudo ' * unit.is_system}{INSTALL} SET.toml")
        return Check(name, OK, f"the set {printable(set_file)}", data={"set": set_file})
    if not found:
        return Check(name, FAIL, "the unit names no folder", f"{INSTALL} FOLDER")
    checks = [_folder(machine, unit, place) for place in found]
    text = "; fallback ".join(check.text for check in checks)
    data = {"folders": [check.data for check in checks]}
    # With a fallback, the main folder may be missing: then the other one plays.
    good = [check for check in checks if check.state == OK]
    worst = WARN if good and len(good) < len(checks) else checks[0].state
    fix = next((check.fix for check in checks if check.fix), "")
    return Check(name, worst, text, fix, data)


def _folder(machine: Machine, unit: Unit, place: Place) -> Check:
    presence = look(place, _system_paths(machine))
    data: dict[str, object] = {"folder": str(place)}
    if presence.root is None:
        fix = "plug it in and mount it" if place.label else "check the path, and that it is mounted"
        return Check("", FAIL, f"{place}: {presence.problem}", fix, data)
    root = presence.root
    if not _may(machine, unit, "-r", root):
        return Check("", FAIL, f"{place}: {unit.user or 'the service'} may not read it",
                     f"sudo chmod -R a+rX {shlex.quote(str(root))}", data)
    tracks = list(Scanner(lambda _path, _reason: None).find([str(root)]))
    if not tracks:
        return Check("", FAIL, f"{place}: there are no tracks", "copy music there", data)
    try:
        path, immutable = library_path(machine, unit, presence)
        known = examine_library(path, immutable).tracks
    except LibraryError:  # reported by the check of the library
        known = {}
    analysed = sum(
        1 for track in tracks
        if (one := known.get(track.path)) and not one.error and one.stamp == stamp_of(track.files)
    )
    failed = sum(1 for track in tracks if (one := known.get(track.path)) and one.error)
    data |= {"tracks": len(tracks), "analysed": analysed, "unusable": failed}
    text = f"{place}: {len(tracks)} tracks, {analysed} analysed"
    text += f", {failed} unusable (crowdstream analyze --bad lists them)" if failed else ""
    if analysed == 0:
        return Check("", WARN, text, f"let it run for a while, or: crowdstream analyze "
                     f"{shlex.quote(str(root))}", data)
    return Check("", OK, text, data=data)


def _may(machine: Machine, unit: Unit, test: str, path: Path) -> bool:
    # Whether the unit's user may use a path. Only root can try it as another user.
    if unit.user and os.geteuid() == 0 and unit.user != "root":
        command = ["runuser", "-u", unit.user, "--", "test", test, str(path)]
        return machine.run(command) is not None
    mode = {"-r": os.R_OK, "-w": os.W_OK}[test]
    if path.is_dir():
        mode |= os.X_OK
    return os.access(path, mode)


# The library ---------------------------------------------------------------------------------


def library_path(
    machine: Machine, unit: Unit | None, presence: Presence | None = None
) -> tuple[Path, bool]:
    """Return the library that the DJ uses, and whether it is the one on a stick."""
    if presence is not None and presence.root is not None and presence.removable:
        on_stick = presence.root / FOLDER / NAME
        if on_stick.exists():
            return on_stick, True
    if unit is None or not unit.is_system:
        return default_path(), False
    if not unit.user:
        return machine.resolve(f"{STATE_FOLDER}/crowdstream/{NAME}"), False
    try:
        home = pwd.getpwnam(unit.user).pw_dir
    except KeyError:
        home = f"/home/{unit.user}"
    return Path(home) / ".local" / "share" / "crowdstream" / NAME, False


def library(machine: Machine, found: Sequence[Unit]) -> Check:
    """Check the library of analysed tracks: readable, undamaged, of this version, writable."""
    name = "library"
    unit = next((unit for unit in found if unit.name == DJ), None)
    path, _ = library_path(machine, unit)
    data: dict[str, object] = {"path": str(path)}
    try:
        condition = examine_library(path)
    except LibraryNotFound as error:
        return Check(name, OK, f"{error} yet: the first analysis makes one", data=data)
    except LibraryDamaged as error:
        return Check(name, FAIL, str(error), "crowdstream analyze --new-library FOLDER", data)
    except LibraryError as error:
        fix = "" if os.access(path, os.R_OK) else "sudo crowdstream doctor: it is another user's"
        return Check(name, FAIL, str(error), fix, data)
    data |= _numbers(condition)
    text = f"{printable(str(path))}: {data['tracks']} tracks"
    text += f", {data['unusable']} unusable" if data["unusable"] else ""
    text += f", {data['gone']} no longer there" if data["gone"] else ""
    text += "" if condition.current else ", made by an earlier version (it is migrated when used)"
    owner = unit or Unit(DJ, False, (), "")
    for one in (path.parent, path):
        if not _may(machine, owner, "-w", one):
            who = owner.user or "this user"
            return Check(name, FAIL, f"{text}; {who} may not write to {printable(str(one))}",
                         f"sudo chown -R {owner.user or '$USER'} "
                         f"{shlex.quote(str(path.parent))}", data)
    return Check(name, OK, text, data=data)


def _numbers(condition: LibraryCondition) -> dict[str, object]:
    tracks = condition.tracks.values()
    return {
        "version": condition.version,
        "tracks": len(tracks),
        "unusable": sum(1 for track in tracks if track.error),
        "gone": sum(1 for track in tracks if track.gone),
    }
