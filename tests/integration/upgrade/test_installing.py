"""Wheels are installed and installations are probed with real programs."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

import crowdstream
from crowdstream.supervisor.upgrade import PROTOCOL
from crowdstream.system.installation import Installation
from crowdstream.upgrade.candidate import BadCandidate, Server, Wheel, check, find, install, probe
from tests.support.environment import PROJECT, child_environment
from tests.support.upgrades import NEXT, installation

AARCH64, X86_64 = 183, 62  # e_machine of an ELF file


def server(layout: str = "") -> Server:
    """A server of this installation."""
    running = Installation(sys.executable, str(PROJECT), crowdstream.__version__)
    own = (os.geteuid(), os.getegid())
    environment = {
        name: value for name, value in child_environment().items() if name != "PYTHONPATH"
    }
    return Server(running, layout, PROTOCOL, 1, "", False, environment, own, running)


def wheel(folder: Path, *requirements: str) -> Path:
    """Write a wheel of this package, with another version."""
    source = installation(folder / "source")
    path = folder / f"crowdstream-{NEXT}-py3-none-any.whl"
    about = f"crowdstream-{NEXT}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: crowdstream\nVersion: {NEXT}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requirements)
    with zipfile.ZipFile(path, "w") as archive:
        names = []
        for file in sorted((source / "crowdstream").rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                names.append(str(file.relative_to(source)))
                archive.write(file, names[-1])
        head = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        for name, text in (("METADATA", metadata), ("WHEEL", head)):
            names.append(f"{about}/{name}")
            archive.writestr(names[-1], text)
        record = "".join(f"{name},,\n" for name in [*names, f"{about}/RECORD"])
        archive.writestr(f"{about}/RECORD", record)
    return path


def test_a_wheel_is_installed_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    made = Wheel.read(wheel(tmp_path, "numpy", "numba"))
    reports: list[str] = []
    place = install(made, server(), tmp_path / "opt" / "new", reports.append)
    assert [one.name for one in (tmp_path / "opt").iterdir()] == ["new"]
    assert "using those of the running installation" in reports[-1]
    found = find(place)
    about = probe(found, server())
    assert about["version"] == NEXT and about["root"] == found.root and not about["faults"]
    ready, live = check(found, server(about["layout"]), reports.append)
    assert ready.version == NEXT and live
    with pytest.raises(BadCandidate, match="exists already"):
        install(made, server(), place, reports.append)


def share_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new environments use this one's pip: installing it takes ten times as long as a wheel."""
    run = subprocess.run

    def without_pip(command: list[str], **options: Any) -> Any:
        if "venv" not in command:
            return run(command, **options)
        done = run([*command[:-1], "--without-pip", command[-1]], **options)
        (site,) = Path(command[-1]).glob("lib/python3*/site-packages")
        for package in Path(sysconfig.get_path("purelib")).glob("pip*"):
            (site / package.name).symlink_to(package)
        return done

    monkeypatch.setattr(subprocess, "run", without_pip)


def test_a_wheel_whose_packages_are_missing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    share_pip(monkeypatch)
    made = Wheel.read(wheel(tmp_path, "no-such-package-of-crowdstream"))
    with pytest.raises(BadCandidate, match="needs packages that are not installed") as raised:
        install(made, server(), tmp_path / "opt" / "new", lambda _text: None)
    assert "no-such-package" in str(raised.value)
    assert list((tmp_path / "opt").iterdir()) == []


def test_an_environment_of_another_architecture_is_refused(tmp_path: Path) -> None:
    new = installation(tmp_path / "new")
    python = tmp_path / "new" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    machine = X86_64 if os.uname().machine == "aarch64" else AARCH64
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    python.write_bytes(head + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, *[0] * 4, 64, *[0] * 5))
    python.chmod(0o755)
    with pytest.raises(BadCandidate, match="is for another architecture than this machine's"):
        check(find(new), server(), lambda _text: None)


def test_an_installation_describes_itself(tmp_path: Path) -> None:
    new = installation(tmp_path / "new")
    about = probe(find(new, Path(sys.executable)), server())
    assert (about["version"], about["root"]) == (NEXT, str(new))
    assert about["kernels"] and about["protocol"] == PROTOCOL and about["faults"] == []
    assert about["layout"] == probe(server().running, server())["layout"]


def test_a_program_that_is_something_else_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "other" / "crowdstream"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '9.0.0'\n")
    with pytest.raises(BadCandidate, match="is a version without `upgrade`"):
        check(find(tmp_path / "other", Path(sys.executable)), server(), lambda _text: None)
