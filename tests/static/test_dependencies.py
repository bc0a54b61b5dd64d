"""No dependency of the server has a version with a known vulnerability."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from contrib import audit
from contrib.audit import Advisory, Answer, installed_version, read_advisories, read_answer, unsafe
from tests.support.environment import PROJECT

PACKAGES, ADVISORIES = read_advisories()


def requirements() -> list[Requirement]:
    """The requirements of the server and of its extras."""
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    for extra in about["project"]["optional-dependencies"].values():
        lines += extra
    return [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]


def needed() -> set[str]:
    """The names of all packages that the server needs, including transitive dependencies."""
    found: set[str] = set()
    left = [requirement.name for requirement in requirements()]
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": ""}):
                left.append(requirement.name)
    return found


def test_the_advisory_list_covers_every_package_that_the_server_needs() -> None:
    looked = {canonicalize_name(name) for name in PACKAGES}
    assert not needed() - looked - {"typing-extensions"}


LOCK = PROJECT / "requirements.lock"
PLATFORMS = [
    {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.2",
     "platform_machine": machine, "sys_platform": "linux", "platform_system": "Linux",
     "os_name": "posix", "implementation_name": "cpython",
     "platform_python_implementation": "CPython"}
    for minor in (11, 12, 13, 14) for machine in ("x86_64", "aarch64")
]  # fmt: skip


def locked() -> list[tuple[Requirement, list[str]]]:
    """The entries of the lock file, each with its hashes."""
    text = "\n".join(
        line for line in LOCK.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )
    found = []
    for entry in text.replace("\\\n", " ").splitlines():
        words, *hashes = entry.split("--hash=")
        found.append((Requirement(words.strip()), [one.strip() for one in hashes]))
    return found


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda one: "-".join(list(one.values())[1:3]))
def test_the_lock_pins_one_version_of_every_package_needed(platform: dict[str, str]) -> None:
    versions: dict[str, Version] = {}
    for requirement, _hashes in locked():
        if requirement.marker is None or requirement.marker.evaluate(platform):
            name = canonicalize_name(requirement.name)
            [pin] = requirement.specifier
            assert pin.operator == "==" and name not in versions
            versions[name] = Version(pin.version)
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    left = [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]
    seen: set[str] = set()
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        assert name in versions, f"regenerate requirements.lock: {name} is missing"
        assert versions[name] in requirement.specifier, f"regenerate requirements.lock: {name}"
        if name not in seen:
            seen.add(name)
            for text in importlib.metadata.requires(name) or []:
                needs = Requirement(text)
                if needs.marker is None or needs.marker.evaluate({**platform, "extra": ""}):
                    left.append(needs)


def test_every_entry_of_the_lock_has_hashes_and_names_no_index() -> None:
    text = LOCK.read_text(encoding="utf-8")
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    entries = locked()
    assert len(entries) > 15
    for requirement, hashes in entries:
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)
        assert requirement.url is None
    script = (PROJECT / "contrib" / "install.sh").read_text(encoding="utf-8")
    assert 'pip_install --require-hashes -r "$project/requirements.lock"' in script


def test_no_installed_package_is_known_to_be_unsafe() -> None:
    assert len(ADVISORIES) >= 8
    assert not list(unsafe(ADVISORIES))


def test_no_requirement_permits_an_unsafe_version() -> None:
    bounds = {
        canonicalize_name(requirement.name): min(
            Version(bound.version) for bound in requirement.specifier
        )
        for requirement in requirements()
    }
    for advisory in ADVISORIES:
        name = canonicalize_name(advisory.package)
        # A transitive dependency has no bound here; the test above checks its installed version.
        if advisory.fixed and not advisory.library and name in bounds:
            assert bounds[name] >= Version(advisory.fixed), advisory


def test_an_unsafe_version_is_reported_with_the_fixed_version() -> None:
    advisory = Advisory("psutil", "CVE-1", "it is wrong", "5.6.6")
    assert list(unsafe([advisory], lambda _advisory: "5.6.5")) == [
        "psutil 5.6.5: CVE-1, it is wrong; fixed in 5.6.6"
    ]
    assert not list(unsafe([advisory], lambda _advisory: "5.6.6"))
    assert not list(unsafe([Advisory("no-such-extra", "CVE-3", "it is wrong", "1.0")]))
    assert not list(unsafe([advisory], lambda _advisory: "5.10.0")), "10 is greater than 6"
    library = Advisory("soundfile", "CVE-2", "a library", "999", "libsndfile")
    [told] = unsafe([library])
    assert told.startswith(f"libsndfile {installed_version(library)}: CVE-2")


def test_the_installed_packages_are_compatible() -> None:
    assert audit.misfits() == []


def test_a_package_unknown_to_the_advisory_service_does_not_count_as_safe() -> None:
    safe = {"name": "numpy", "version": "2.4", "vulns": []}
    bad = {"name": "x", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2", "3"]}]}
    lost = {"name": "y", "skip_reason": "Dependency not found"}
    assert read_answer({"dependencies": [safe]}, ["numpy"]).complete
    assert not read_answer({"dependencies": [safe, lost]}, ["numpy"]).complete
    assert not read_answer({"dependencies": []}, ["numpy"]).complete
    assert not Answer((), 3, 0, "no network").complete
    report = {"dependencies": [safe, bad, lost]}
    told = ("x 1: PYSEC-1; fixed in 2, 3",)
    assert read_answer(report, ["numpy", "X"]) == Answer(told, 2, 1)
    assert read_answer(report, ["numpy"]) == Answer((), 2, 1, "", told)


@pytest.mark.parametrize(
    ("answer", "arguments", "status", "said"),
    [
        (Answer((), 5, 0), [], 0, "nothing unsafe is known"),
        (Answer((), 5, 0), ["--online"], 0, "nothing unsafe is known"),
        (Answer((), 0, 0, "no network"), [], 0, "NOT COMPLETE, 0 packages were looked up: no net"),
        (Answer((), 0, 0, "no network"), ["--online"], 1, "something is wrong"),
        (Answer((), 2, 3), [], 0, "it does not know 3 of the packages"),
        (Answer(("x 1: PYSEC-1",), 5, 0), [], 1, "pip-audit: x 1: PYSEC-1"),
        (Answer((), 5, 0, "", ("pip 1: PYSEC-2",)), [], 0, "a tool of the tests: pip 1: PYSEC-2"),
    ],
)
def test_the_audit_reports_which_packages_it_could_not_look_up(
    answer: Answer, arguments: list[str], status: int, said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(audit, "ask_service", lambda _packages: answer)
    monkeypatch.setattr(audit, "misfits", list)  # looked at above, as they are
    assert audit.main(arguments) == status
    printed = capsys.readouterr().out
    assert "CVE-2024-50612" in printed, "an advisory without a fixed release is still reported"
    assert "CVE-2024-50612" in printed, "what no release mends is not hidden"


def test_the_audit_fails_on_incompatible_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "ask_service", lambda _packages: Answer((), 5, 0))
    monkeypatch.setattr(audit, "misfits", lambda: ["a 1 requires b, which is not installed."])
    assert audit.main([]) == 1
    assert "pip check: a 1 requires b, which is not installed." in capsys.readouterr().out


def test_the_requirements_of_the_tests_include_the_tools() -> None:
    text = "\n".join(
        (PROJECT / "tests" / name).read_text(encoding="utf-8")
        for name in ("requirements.txt", "static/requirements.txt")
    )
    assert "\nav>=" in text and "\ndistributed>=" in text, "extras, which tests use"
    for name in ("bandit", "pip-audit", "packaging"):
        assert re.search(rf"^{name}[<>=]", text, re.MULTILINE)


def test_the_advisory_service_reports_no_installed_package() -> None:
    answer = audit.ask_service(PACKAGES)
    assert not answer.unsafe
    if not answer.complete:
        # No installation can change this: the service is out of reach or does not know a package.
        total = answer.known + answer.unknown
        pytest.skip(f"the advisory service looked up {answer.known} of {total} packages"
                    f"{f': {answer.trouble}' if answer.trouble else ''}")  # fmt: skip
