"""The installation that a path names: found, checked, and prepared, before anything is changed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from crowdstream.supervisor.upgrade import PROTOCOL
from crowdstream.system.installation import Installation
from crowdstream.system.process import without_secrets
from crowdstream.system.text import printable

PROBE_MODULE = "crowdstream.upgrade.probe"
PROBE_SECONDS = 60.0  # imports from a slow SD card
COMPILE_SECONDS = 3600.0
PIP_SECONDS = 1800.0
MAX_OUTPUT = 300  # characters of a program's output that are shown
MB = 1 << 20
KERNEL_BYTES = 32 * MB  # free space that compiled kernels need
WHEEL_BYTES = 40 * MB  # the same for a wheel that shares the packages of the running installation
PACKAGES_BYTES = 700 * MB  # the same with packages of its own

Report = Callable[[str], None]


class BadCandidate(Exception):
    """An installation can't be upgraded to; the message names the reason and the remedy."""


@dataclass(frozen=True)
class Server:
    """The running server, as its supervisor describes it. `account`: its user and group ID."""

    running: Installation
    layout: str
    protocol: int
    pid: int
    busy: str
    service: bool
    environment: Mapping[str, str]
    account: tuple[int, int]
    started: Installation

    @classmethod
    def of(cls, hello: Mapping[str, Any], account: tuple[int, int]) -> Server:
        """Read the supervisor's first message. Raises `KeyError`, `TypeError` or `ValueError`."""
        return cls(
            Installation(*hello["running"]), str(hello["layout"]), int(hello["protocol"]),
            int(hello["pid"]), str(hello["busy"]), bool(hello["service"]),
            dict(hello["environment"]), account, Installation(*hello["started"]),
        )  # fmt: skip

    def trusted(self) -> Installation:
        """The running installation, if its programs may run as this user; else this program's own.

        While no server runs, any user of the machine can pretend to be one, and name anything. So
        root runs nothing that the process of another user has named.
        """
        return self.running if self.account[0] in (0, os.geteuid()) else Installation.own()

    def variables(self) -> dict[str, str]:
        """Environment of a program that runs as the server does."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
        return {**kept, **self.environment, "OPENBLAS_NUM_THREADS": "1"}

    def identity(self) -> dict[str, Any]:
        """Arguments of `subprocess` that make a program run as the server's user."""
        user, group = self.account
        if os.geteuid() == user:
            return {}
        return {"user": user, "group": group, "extra_groups": [group]}


def find(path: Path, python: Path | None = None) -> Installation:
    """Return the installation at `path`: a checkout, or a virtual environment.

    `python`: the executable that runs a checkout; by default that of its `.venv`. The version is
    empty. Raises `BadCandidate`.
    """
    shown = printable(path)
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise BadCandidate(f"{shown} is neither a folder nor a wheel (*.whl)")
        os.listdir(path)
        packages = [path, *sorted(path.glob("lib/python3*/site-packages"))]
        roots = [one for one in packages if (one / "crowdstream" / "__init__.py").is_file()]
    except OSError as error:
        raise BadCandidate(f"{shown} can't be read: {error.strerror}") from None
    if not roots:
        raise BadCandidate(
            f"{shown} is not CrowdStream: it contains no folder crowdstream/, as a checkout does, "
            "and no environment in which it is installed"
        )
    root = roots[0].resolve()
    own = path / "bin" / "python" if roots[0] != path else path / ".venv" / "bin" / "python"
    executable = Path(os.path.abspath(python or own))
    if not executable.exists():
        raise BadCandidate(
            f"{shown} has no {executable.relative_to(os.path.abspath(path))}: run "
            f"{printable(path / 'start-crowdstream.sh')} --install-only first"
            if python is None else f"{printable(executable)} does not exist"
        )
    return Installation(str(executable), str(root), "")


def _output(data: bytes | None) -> str:
    # The last line that a program has written, which names a Python error.
    lines = (data or b"").decode(errors="replace").strip().splitlines()
    return printable(lines[-1])[:MAX_OUTPUT] if lines else "no output"


def _run(
    found: Installation, server: Server, module: str, *arguments: str, seconds: float
) -> subprocess.CompletedProcess[bytes]:
    # Run a module of the installation as the server would. Raises `BadCandidate`.
    try:
        return subprocess.run(
            found.command(module, *arguments), stdin=subprocess.DEVNULL, capture_output=True,
            env=found.environment(without_secrets(server.variables())), timeout=seconds,
            check=False, cwd="/", **server.identity(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BadCandidate(f"{module} of {found.root} did not end within {seconds:g} s") from None
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            reason = (
                f"{printable(found.python)} is for another architecture than this machine's "
                f"({platform.machine()})"
            )
        elif error.errno == errno.EACCES:
            reason = f"the server's user may not run {printable(found.python)}"
        else:
            reason = f"{printable(found.python)} does not start: {error.strerror}"
        raise BadCandidate(reason) from None


def probe(found: Installation, server: Server) -> dict[str, Any]:
    """Let an installation describe itself (see `probe.describe`). Raises `BadCandidate`."""
    done = _run(found, server, PROBE_MODULE, seconds=PROBE_SECONDS)
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    try:
        about = json.loads(lines[-1])
        if not isinstance(about, dict) or "faults" not in about:
            raise ValueError("another program")
    except (ValueError, IndexError):
        old = b"No module named crowdstream.upgrade" in done.stderr or (
            b"No module named 'crowdstream.upgrade" in done.stderr
        )
        if old:
            reason = f"{found.root} is a version without `upgrade`: it is older than this one"
        else:
            reason = f"{found.root} does not start: {_output(done.stderr)}"
        raise BadCandidate(reason) from None
    return about


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version such as 0.12.1, for comparison."""
    return tuple(int(one) for one in re.findall(r"\d+", version)[:3])


def check(
    found: Installation, server: Server, report: Report, allow_older: bool = False
) -> tuple[Installation, bool]:
    """Check an installation, and compile its kernels if necessary.

    Returns it with its version, and whether it can take over all state while the mix plays. Raises
    `BadCandidate`.
    """
    if found.root == server.running.root:
        raise BadCandidate(
            f"{printable(found.root)} is the installation that is running: install the new version "
            "in another folder, so that the old one can return if it fails"
        )
    about = probe(found, server)
    version = str(about["version"])
    if about["root"] != found.root:
        raise BadCandidate(
            f"{printable(found.python)} imports CrowdStream from {printable(about['root'])}, not "
            f"from {printable(found.root)}"
        )
    if about["faults"]:
        raise BadCandidate(f"version {version} does not start: {printable(about['faults'][0])}")
    if numbers(version) < numbers(server.running.version) and not allow_older:
        raise BadCandidate(
            f"version {version} is older than {server.running.version}, which is running: add "
            "--allow-older to go back to it"
        )
    if not about["kernels"]:
        _compile(found, server, report)
    live = about["layout"] == server.layout and about["protocol"] == server.protocol == PROTOCOL
    return found._replace(version=version), live


def _compile(found: Installation, server: Server, report: Report) -> None:
    cache = server.environment.get("NUMBA_CACHE_DIR") or server.environment.get("XDG_CACHE_HOME")
    place = Path(cache or server.environment.get("HOME", "/"))
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(place if place.exists() else place.parent).free
        if free < KERNEL_BYTES:
            raise BadCandidate(_too_full(place, free, KERNEL_BYTES, "compiled kernels"))
    report("compiling the mixing kernels, which takes a minute")
    done = _run(found, server, "crowdstream", "compile", seconds=COMPILE_SECONDS)
    if done.returncode:
        raise BadCandidate(f"the kernels can't be compiled: {_output(done.stderr)}")
    if not probe(found, server)["kernels"]:
        raise BadCandidate(f"the compiled kernels could not be saved in {printable(place)}")


def _too_full(place: Path, free: int, needed: int, what: str) -> str:
    return (
        f"{printable(place)}: {free // MB} MB are free, and {what} need {needed // MB} MB: make "
        "room there"
    )


# Wheels ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wheel:
    """A wheel of CrowdStream."""

    path: Path
    version: str

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Read a wheel's name and version. Raises `BadCandidate`."""
        shown = printable(path)
        try:
            with zipfile.ZipFile(path) as archive:
                names = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
                head = BytesHeaderParser().parsebytes(archive.read(names[0]))
                broken = archive.testzip()
        except OSError as error:
            raise BadCandidate(f"{shown} can't be read: {error.strerror or error}") from None
        except (zipfile.BadZipFile, IndexError, KeyError, EOFError, ValueError):
            raise BadCandidate(f"{shown} is not a wheel, or it is damaged") from None
        if broken is not None:
            raise BadCandidate(f"{shown} is damaged: {printable(broken)} in it can't be read")
        if str(head["Name"]).lower() != "crowdstream":
            raise BadCandidate(f"{shown} is not CrowdStream, but {printable(str(head['Name']))}")
        tag = path.stem.rpartition("-")[2]
        if tag != "any" and not tag.endswith(platform.machine()):
            raise BadCandidate(
                f"{shown} is for another architecture ({printable(tag)}) than this machine's "
                f"({platform.machine()})"
            )
        return cls(path, str(head["Version"]))


def install(
    wheel: Wheel, server: Server, folder: Path | None, report: Report, pip: tuple[str, ...] = ()
) -> Path:
    """Install a wheel in an environment of its own; return the environment's folder.

    `folder`: where; by default beside the running installation. `pip`: additional options. Without
    a package index, it uses the packages of the running installation if these suffice. On failure
    nothing is left. Raises `BadCandidate`.
    """
    place = folder or _beside(server.trusted()) / f"crowdstream-{wheel.version}"
    if place.exists():
        raise BadCandidate(
            f"{printable(place)} exists already: pass it to `crowdstream upgrade` instead of the "
            "wheel if it is this version, remove it, or name another folder with --into"
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place.parent).free
    except OSError as error:
        raise BadCandidate(f"{printable(place)} can't be created: {error.strerror}") from None
    if free < WHEEL_BYTES:
        raise BadCandidate(_too_full(place.parent, free, WHEEL_BYTES, "a new version"))
    report(f"installing version {wheel.version} in {printable(place)}")
    try:
        place.mkdir()  # and not renamed later: programs in an environment contain its path
    except OSError as error:
        raise BadCandidate(f"{printable(place)} can't be created: {error.strerror}") from None
    try:
        _fill(place, wheel, server, report, free >= PACKAGES_BYTES, pip)
    except BaseException as error:
        shutil.rmtree(place, ignore_errors=True)
        if not isinstance(error, OSError | subprocess.SubprocessError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise BadCandidate(f"{printable(place)}: the installation failed: {reason}") from None
    return place


def _beside(running: Installation) -> Path:
    # The folder that contains the running checkout, or its environment.
    root = Path(running.root)
    if root.name == "site-packages":
        return root.parents[3]
    return root.parent


def _fill(
    place: Path, wheel: Wheel, server: Server, report: Report, with_packages: bool,
    pip: tuple[str, ...],
) -> None:  # fmt: skip
    running = server.trusted()
    base = running.python if os.access(running.python, os.X_OK) else sys.executable
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [base, "-P", "-m", "venv", str(place)], check=True, capture_output=True,
        timeout=PIP_SECONDS, env=without_secrets(environment),
    )  # fmt: skip
    command = [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, *arguments], capture_output=True, timeout=PIP_SECONDS, check=False,
            env=without_secrets(environment),
        )  # fmt: skip

    options = ("install", "--quiet", "--no-input", "--retries", "1", *pip)
    complete = with_packages and run(*options, str(wheel.path)).returncode == 0
    if complete:
        return
    done = run(*options, "--no-deps", "--no-index", str(wheel.path))
    if done.returncode:
        raise BadCandidate(f"pip can't install {printable(wheel.path)}: {_output(done.stderr)}")
    report("its packages can't be downloaded: using those of the running installation")
    (site,) = place.glob("lib/python3*/site-packages")
    shared = sorted(Path(running.python).parent.parent.glob("lib/python3*/site-packages"))
    lines = "".join(f"{one}\n" for one in shared)
    (site / "crowdstream-shared.pth").write_text(lines, encoding="utf-8")
    missing = run("check")
    if missing.returncode and b"crowdstream" in missing.stdout.lower():
        raise BadCandidate(
            f"version {wheel.version} needs packages that are not installed, and they can't be "
            f"downloaded: {_output(missing.stdout)}"
        )
