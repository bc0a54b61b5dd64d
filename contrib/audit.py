"""Check whether the installed packages have known vulnerabilities.

    python -P -m contrib.audit

Three checks: the advisories in `advisories.toml` against the installed versions, `pip check`, and
`pip-audit`, which queries an advisory service. If the service does not answer or does not know all
packages, this is reported but is not an error, unless `--online` is given. The exit status is 1 if
a check fails.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

ADVISORIES = Path(__file__).resolve().parent / "advisories.toml"
SERVICE_SECONDS = 120.0


@dataclass(frozen=True)
class Advisory:
    """One advisory. `fixed` is empty if no release fixes it."""

    package: str
    id: str
    what: str
    fixed: str
    library: str = ""


@dataclass(frozen=True)
class Answer:
    """Result of the advisory service, and the number of packages that it knows.

    `unsafe`: findings in packages that the server depends on. `tools`: findings in others, such as
    pip.
    """

    unsafe: tuple[str, ...]
    known: int
    unknown: int
    trouble: str = ""
    tools: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the service knows every package."""
        return not self.trouble and self.unknown == 0 and self.known > 0


def read_advisories(path: Path = ADVISORIES) -> tuple[list[str], list[Advisory]]:
    """Return the checked packages, and the advisories about them."""
    packages = tomllib.loads(path.read_text(encoding="utf-8"))["packages"]
    return list(packages), [
        Advisory(package, **line) for package, lines in packages.items() for line in lines
    ]


def installed_version(advisory: Advisory) -> str:
    """Return the installed version of the package or library that an advisory is about."""
    if advisory.library == "libsndfile":
        import soundfile

        return str(soundfile.__libsndfile_version__)
    return importlib.metadata.version(advisory.package)


def unsafe(
    advisories: Sequence[Advisory], version: Callable[[Advisory], str] = installed_version
) -> Iterator[str]:
    """Yield installed versions that are affected by an advisory although a fix is available."""
    for advisory in advisories:
        try:
            found = version(advisory)
        except importlib.metadata.PackageNotFoundError:
            continue  # from an extra that is not installed
        if advisory.fixed and Version(found) < Version(advisory.fixed):
            yield (
                f"{advisory.library or advisory.package} {found}: {advisory.id}, {advisory.what};"
                f" fixed in {advisory.fixed}"
            )


def read_answer(report: Mapping[str, Any], packages: Collection[str]) -> Answer:
    """Parse a report of pip-audit (`--format json`). The server depends on `packages`."""
    runs_on = {canonicalize_name(name) for name in packages}
    found: dict[bool, list[str]] = {True: [], False: []}
    known = unknown = 0
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown += 1
            continue
        known += 1
        found[canonicalize_name(package["name"]) in runs_on] += [
            f"{package['name']} {package['version']}: {line['id']};"
            f" fixed in {', '.join(line['fix_versions']) or 'no release'}"
            for line in package["vulns"]
        ]
    return Answer(tuple(found[True]), known, unknown, "", tuple(found[False]))


def ask_service(packages: Collection[str]) -> Answer:
    """Run pip-audit, which queries the advisory service about every installed package."""
    command = [
        sys.executable, "-P", "-m", "pip_audit", "--local", "--skip-editable", "--format", "json",
        "--progress-spinner", "off", "--timeout", "20",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SERVICE_SECONDS
        )
        return read_answer(json.loads(done.stdout), packages)
    except subprocess.TimeoutExpired:
        return Answer((), 0, 0, f"no answer within {SERVICE_SECONDS:g} s")
    except (ValueError, KeyError):
        lines = done.stderr.strip().splitlines() or ["it printed nothing"]
        return Answer((), 0, 0, lines[-1][:300])


def misfits() -> list[str]:
    """Return the conflicts between installed packages that `pip check` reports."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines() if done.returncode else []


def _report(name: str, faults: Sequence[str]) -> bool:
    for fault in faults:
        print(f"{name}: {fault}")
    return bool(faults)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings. Returns 1 if a check fails."""
    parser = argparse.ArgumentParser(description="Audit the installed packages.")
    parser.add_argument(
        "--online", action="store_true", help="fail if the advisory service does not answer"
    )
    options = parser.parse_args(arguments)
    packages, advisories = read_advisories()
    wrong = _report("advisories", list(unsafe(advisories)))
    for advisory in advisories:
        if not advisory.fixed:
            print(f"advisories: {advisory.id} ({advisory.what}) is not fixed in any release yet")
    wrong |= _report("pip check", misfits())
    answer = ask_service(packages)
    wrong |= _report("pip-audit", answer.unsafe)
    _report("pip-audit, a tool of the tests", answer.tools)
    if not answer.complete:
        why = answer.trouble or f"it does not know {answer.unknown} of the packages"
        print(f"pip-audit: NOT COMPLETE, {answer.known} packages were looked up: {why}")
        wrong |= options.online
    print(
        f"audit: {len(packages)} packages, {len(advisories)} advisories: "
        f"{'something is wrong, see above' if wrong else 'nothing unsafe is known'}"
    )
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
