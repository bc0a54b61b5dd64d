"""What the shell scripts do, with every program they call replaced by one that takes notes.

Nothing is installed here: `fakes` is the only folder in PATH. test_newcomer.py does the real
thing.
"""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from crowdstream.settings.cli import build_parser
from tests.support.environment import PROJECT

COPIED = [
    "start-crowdstream.sh",
    "run-tests.sh",
    "contrib/install.sh",
    "contrib/service.sh",
    "contrib/uninstall.sh",
    "contrib/crowdstream.service",
    "contrib/crowdstream-governor.service",
    "requirements.txt",
    "requirements.lock",
    "tests/requirements.txt",
    "tests/static/requirements.txt",
    "tests/browser/requirements.txt",
    "pyproject.toml",
]
REAL = [
    "bash",
    "cat",
    "cp",
    "env",
    "flock",
    "getconf",
    "grep",
    "ln",
    "mkdir",
    "mktemp",
    "mv",
    "nice",
    "nproc",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
]

TIERS = ("static", "unit", "integration", "system", "browser", "fuzz")

# Stands for every Python: the system's, and after `-m venv` the one in .venv/.
PYTHON = """#!/bin/bash
case $* in
-c*pyaudio*) exit 1 ;;                  # PyAudio is not built yet
-c*atheris*) exit "${ATHERIS_STATUS:-0}" ;;
-c*|*--version) exit 0 ;;               # nothing is lacking, .venv/ is usable
esac
printf 'python %s\\n' "$*" >>"$NOTES"
case $* in
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; printf '%s' "$3" >"$3/bin/activate" ;;
*"-m pip "*) exit "${PIP_STATUS:-0}" ;;
*"--collect-only"*) printf '%s\\n' "${SELECTED:-}" ;;
*"-m tests.support.processes"*)
    [ -z "${SWEEPING:-}" ] || { echo sweeps; read -r line; }
    exit "${SWEEP_STATUS:-0}"
    ;;
*"-m pytest"*) exit "${PYTEST_STATUS:-0}" ;;
*/audio_server.py*)
    printf 'pid %s in %s\\n' $$ "$PWD" >>"$NOTES"
    # It runs until the DJ is there, where one is to come.
    until [ -z "${DJ:-}" ] || [[ $(<"$NOTES") = *"crowdstream dj"* ]]; do sleep 0.02; done
    ;;
esac
"""

# Finds stdio.h; finds portaudio.h once the file `portaudio` stands beside it.
COMPILER = """#!/bin/bash
read -r line
[[ $line != *portaudio* || -e ${0%/*}/portaudio ]]
"""

APT = """#!/bin/bash
[ "$1" != -s ] || exit "${SIMULATION_STATUS:-0}"
printf 'apt-get %s (%s)\\n' "$*" "$DEBIAN_FRONTEND" >>"$NOTES"
[[ $* != *portaudio* ]] || : >"${0%/*}/portaudio"
"""


class Sandbox:
    """A copy of the scripts in a folder of its own, and the fake programs they find."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "a project"  # a blank: nothing may rely on there being none
        self.fakes = folder / "fakes"
        self.notes_file = folder / "notes"
        self.temporary = folder / "tmp"
        self.fakes.mkdir()
        self.temporary.mkdir()
        for name in COPIED:
            target = self.project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, target)
        for tier in TIERS:
            (self.project / "tests" / tier).mkdir(exist_ok=True)
        for name in REAL:
            path = shutil.which(name)
            assert path is not None, f"{name} is needed by the scripts"
            (self.fakes / name).symlink_to(path)
        self.fake("python3", PYTHON)
        self.fake("gcc", COMPILER)
        self.fake("apt-get", APT)
        self.fake("id", "#!/bin/bash\necho 0\n")
        self.fake("stat", '#!/bin/bash\necho "${OWNER:-root}"\n')
        self.fake("df", "#!/bin/bash\nprintf 'Avail\\n9000000\\n'\n")
        self.fake("systemd-analyze", "#!/bin/bash\n")
        for name in ("chromium", "pd", "sclang", "ruby"):
            self.fake(name, "#!/bin/bash\n")
        (self.fakes / "portaudio").touch()

    def fake(self, name: str, text: str) -> None:
        """Add a program, or replace one; never the system's, to which a link of its name leads."""
        file = self.fakes / name
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def without(self, *names: str) -> None:
        for name in names:
            (self.fakes / name).unlink()

    def run(
        self,
        command: str | Path,
        *arguments: str,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the copy, with no terminal that sudo could ask on."""
        variables = {"PATH": str(self.fakes), "NOTES": str(self.notes_file)}
        variables |= {"TMPDIR": str(self.temporary), **(env or {})}
        self.notes_file.write_text("")
        return subprocess.run(
            [self.project / command, *arguments],
            cwd=cwd or self.project,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            start_new_session=True,
        )

    def notes(self) -> list[str]:
        """What the fake programs were called with during the last run."""
        text = self.notes_file.read_text().replace(str(self.project), "PROJECT")
        return text.splitlines()


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


INSTALLATION = [
    "python -m venv PROJECT/.venv",
    "python -m pip install --require-hashes -r PROJECT/requirements.lock",
    "python -m pip install --no-deps -e PROJECT",
    "python -P -m crowdstream compile",
]


def test_a_fake_replaces_the_link_and_not_the_program_behind_it(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text("real")
    (sandbox.fakes / "tool").symlink_to(program)
    sandbox.fake("tool", "fake")
    assert program.read_text() == "real" and (sandbox.fakes / "tool").read_text() == "fake"


def test_the_first_start_installs_in_order(sandbox: Sandbox) -> None:
    result = sandbox.run("start-crowdstream.sh", "--install-only")
    assert result.returncode == 0, result.stderr
    assert sandbox.notes() == INSTALLATION
    for step in ("[1/4]", "[2/4]", "[3/4]", "[4/4]"):
        assert step in result.stdout


def test_the_second_start_does_nothing_but_start(sandbox: Sandbox) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    (sandbox.project / "one track.wav").touch()
    result = sandbox.run("start-crowdstream.sh", "--deck-a", "one track.wav")
    assert result.returncode == 0
    assert sandbox.notes()[0] == "python PROJECT/audio_server.py --deck-a one track.wav"
    assert result.stdout == ""


def test_a_changed_requirement_is_installed(sandbox: Sandbox) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    with (sandbox.project / "requirements.txt").open("a") as file:
        file.write("another\n")
    sandbox.run("start-crowdstream.sh", "--install-only")
    assert sandbox.notes() == INSTALLATION[1:]


def test_a_project_that_was_moved_gets_a_new_environment(sandbox: Sandbox) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    sandbox.project = sandbox.project.rename(sandbox.project.with_name("moved"))
    result = sandbox.run("start-crowdstream.sh", "--install-only")
    assert "recreating it" in result.stdout
    assert sandbox.notes() == INSTALLATION


def test_an_installation_that_broke_off_is_repaired(sandbox: Sandbox) -> None:
    broken = sandbox.run("start-crowdstream.sh", env={"PIP_STATUS": "1"})
    assert broken.returncode == 1
    assert "pip could not install" in broken.stderr
    assert sandbox.notes() == INSTALLATION[:2]
    repaired = sandbox.run("start-crowdstream.sh", "--install-only")
    assert repaired.returncode == 0
    assert sandbox.notes() == INSTALLATION


def test_it_works_from_elsewhere_through_a_link(sandbox: Sandbox, tmp_path: Path) -> None:
    link = tmp_path / "crowdstream-link"
    link.symlink_to(sandbox.project / "start-crowdstream.sh")
    sandbox.run("start-crowdstream.sh", "--install-only")
    result = sandbox.run(link, "--levels", "1", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    called, where = sandbox.notes()
    assert called == "python PROJECT/audio_server.py --levels 1 1"
    assert where.endswith(f" in {tmp_path}")  # so that relative file names mean what they say


def test_the_server_takes_the_place_of_the_script(sandbox: Sandbox) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    variables = {"PATH": str(sandbox.fakes), "NOTES": str(sandbox.notes_file)}
    with subprocess.Popen([sandbox.project / "start-crowdstream.sh"], env=variables) as child:
        child.wait(60)
    assert sandbox.notes()[-1].startswith(f"pid {child.pid} ")


def test_demo_passes_its_options_on(sandbox: Sandbox) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    sandbox.run("start-crowdstream.sh", "--demo", "--duration", "8")
    assert sandbox.notes() == ["python -P -m crowdstream demo --duration 8"]


def test_a_dj_plays_beside_the_server_with_its_port_and_crowd(sandbox: Sandbox) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    options = ("--dj", "my stems", "--port", "57130", "--movement-map=crowd.toml")
    (sandbox.project / "my stems").mkdir()
    for name in ("crowd.toml", "night.toml"):
        (sandbox.project / name).touch()
    result = sandbox.run("start-crowdstream.sh", *options, env={"DJ": "1"})
    assert result.returncode == 0, result.stderr
    notes = sandbox.notes()
    (pid,) = [note.split()[1] for note in notes if note.startswith("pid")]
    assert set(notes) - {f"pid {pid} in PROJECT"} == {
        "python PROJECT/audio_server.py --port 57130 --movement-map=crowd.toml",
        f"python -P -m crowdstream dj my stems --port 57130 --crowd crowd.toml --with {pid}",
    }
    sandbox.run("start-crowdstream.sh", "--dj", "night.toml", env={"DJ": "1"})
    crowd = "PROJECT/configs/crowd.toml"
    assert any(f"--port 57120 --crowd {crowd}" in note for note in sandbox.notes())
    assert f"python PROJECT/audio_server.py --movement-map {crowd}" in sandbox.notes()
    assert sandbox.run("start-crowdstream.sh", "--dj").returncode == 2


@pytest.mark.parametrize(
    ("options", "started"),
    [
        (["--dj", "label:MY MUSIC"], "label:MY MUSIC"),
        (["label:MUSIC", "--dj-fallback", "my music"], "label:MUSIC --dj-fallback my music"),
        (["--dj-fallback=~/my music", "missing"], "missing --dj-fallback PROJECT/my music"),
        (["--dj=my music", "--dj-fallback=label:B"], "my music --dj-fallback label:B"),
    ],
)
def test_a_dj_of_a_stick_need_not_find_it_yet(
    sandbox: Sandbox, options: list[str], started: str
) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    (sandbox.project / "my music").mkdir()
    home = {"HOME": str(sandbox.project), "DJ": "1"}
    result = sandbox.run("start-crowdstream.sh", *options, env=home)
    assert result.returncode == 0, result.stderr
    [played] = [note for note in sandbox.notes() if "crowdstream dj" in note]
    what, _, fallback = started.partition(" --dj-fallback ")
    crowd = "--port 57120 --crowd PROJECT/configs/crowd.toml"
    behind = f" --dj-fallback {fallback}" if fallback else ""
    assert f"crowdstream dj {what} {crowd}{behind} --with" in played
    assert not any("fallback" in note for note in sandbox.notes() if "audio_server" in note)


@pytest.mark.parametrize(
    ("options", "variable", "host"),
    [
        (["--osc-host", "192.168.1.5"], "", "192.168.1.5"),
        (["--osc-host=192.168.1.5"], "10.0.0.7", "192.168.1.5"),
        ([], "10.0.0.7", "10.0.0.7"),
        (["--osc-host", "0.0.0.0"], "10.0.0.7", ""),
        (["--osc-host=::"], "", ""),
        (["--osc-host", "localhost"], "", ""),
    ],
)
def test_a_dj_looks_for_the_server_where_it_listens(
    sandbox: Sandbox, options: list[str], variable: str, host: str
) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    env = {"DJ": "1", "CROWDSTREAM_OSC_HOST": variable}
    result = sandbox.run("start-crowdstream.sh", ".", *options, env=env)
    assert result.returncode == 0, result.stderr
    notes = sandbox.notes()
    [played] = [note for note in notes if "crowdstream dj" in note]
    crowd = "--crowd PROJECT/configs/crowd.toml"
    assert f"{crowd} --host {host} --with" in played if host else f"{crowd} --with" in played
    [served] = [note for note in notes if note.startswith("python") and "audio_server" in note]
    assert " ".join(["audio_server.py", *options]) in served


def test_help_installs_nothing(sandbox: Sandbox) -> None:
    result = sandbox.run("start-crowdstream.sh", "--help")
    assert result.returncode == 0
    assert "--demo" in result.stdout
    assert sandbox.notes() == []


@pytest.mark.parametrize("sudo", [None, "#!/bin/bash\nexit 1\n"], ids=["no sudo", "password"])
def test_what_cannot_be_installed_is_said_with_the_command(
    sandbox: Sandbox, sudo: str | None
) -> None:
    sandbox.fake("id", "#!/bin/bash\necho 1000\n")
    sandbox.without("portaudio")
    if sudo is not None:
        sandbox.fake("sudo", sudo)
    result = sandbox.run("start-crowdstream.sh")
    assert result.returncode == 1
    command = "apt-get install -y --no-install-recommends portaudio19-dev"
    expected = f"    su -c '{command}'" if sudo is None else f"    sudo {command}"
    assert expected in [line.removeprefix("crowdstream: ") for line in result.stderr.splitlines()]
    assert ("sudo" in result.stderr.replace("no sudo", "")) == (sudo is not None)
    assert "portaudio19-dev      PortAudio, the library for sound cards" in result.stdout
    assert sandbox.notes() == []


def test_root_installs_what_is_missing_and_nothing_else(sandbox: Sandbox) -> None:
    sandbox.without("portaudio")
    result = sandbox.run("start-crowdstream.sh", "--install-only")
    assert result.returncode == 0, result.stderr
    calls = [note for note in sandbox.notes() if note.startswith("apt-get")]
    assert len(calls) == 1
    assert calls[0].endswith("install -y --no-install-recommends portaudio19-dev (noninteractive)")


def test_the_package_list_is_refreshed_if_it_knows_no_such_package(sandbox: Sandbox) -> None:
    sandbox.without("portaudio")
    sandbox.run("start-crowdstream.sh", "--install-only", env={"SIMULATION_STATUS": "100"})
    calls = [note.split()[-2] for note in sandbox.notes() if note.startswith("apt-get")]
    assert calls == ["update", "portaudio19-dev"]


@pytest.mark.parametrize(
    ("user", "sudo", "words"),
    [
        (1000, True, "    sudo apt-get update && sudo apt-get install -y"),
        (1000, False, "    su -c 'apt-get update && apt-get install -y"),
        (0, True, "installing them: apt-get update && apt-get install -y"),
        (0, False, "installing them: apt-get update && apt-get install -y"),
    ],
)
def test_with_empty_lists_of_packages_the_command_refreshes_them(
    sandbox: Sandbox, user: int, sudo: bool, words: str
) -> None:
    sandbox.fake("id", f"#!/bin/bash\necho {user}\n")
    sandbox.without("portaudio")
    if sudo:
        sandbox.fake("sudo", "#!/bin/bash\nexit 1\n")
    result = sandbox.run(
        "start-crowdstream.sh", "--install-only", env={"SIMULATION_STATUS": "100"}
    )
    said = result.stdout + result.stderr
    assert words in said
    assert ("sudo" in said.replace("no sudo", "")) == (sudo and user != 0)


WRONG_PATHS = [
    ("--dj", "WRONG"), ("--dj=WRONG",), ("--dj", "WRONG.toml"), ("--dj", "a file"),
    ("--media-root", "WRONG"), ("--media-root=WRONG",), ("--media-root", "a file"),
    ("--media-root", ".", "--media-root", "WRONG"), ("--deck-a", "WRONG"), ("--d=WRONG",),
    ("--config", "WRONG"), ("--config=.",), ("--http-cert", "WRONG"), ("--http-key", "WRONG"),
    ("--movement-map", "WRONG"), ("--dj", ".", "--movement-map", "WRONG"),
    ("--record-folder", "a file"), ("--log-file", "WRONG/log"), ("--log-file", "."),
    ("--demo", "--a", "WRONG"), ("--install-service", "--config", "WRONG"), ("--c", "~/WRONG"),
    ("--deck-d=WRONG",), ("--deck-c", "~/WRONG"), ("--install-service", "--dj", "WRONG"),
    ("--dj=~/WRONG",),
]  # fmt: skip


@pytest.mark.parametrize("options", WRONG_PATHS, ids=" ".join)
def test_a_wrong_path_is_said_before_anything_is_installed(
    sandbox: Sandbox, options: tuple[str, ...]
) -> None:
    (sandbox.project / "a file").touch()
    result = sandbox.run("start-crowdstream.sh", *options, env={"HOME": str(sandbox.project)})
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    named = [word.partition("=")[0] for word in options if word.startswith("--")]
    assert f"start-crowdstream.sh: {named[-1]}: " in line and " is not " in line
    assert sandbox.notes() == [] and not (sandbox.project / ".venv").exists()


WRONG_WORDS = [
    (("WRONG",), "'WRONG' is not a folder with tracks, or a set file"),
    (("~/WRONG",), "is not a folder with tracks"), (("WRONG.toml",), "is not a readable set file"),
    (("a file",), "'a file' is not a folder"), (("--port", "1", "WRONG"), "'WRONG' is not"),
    (("--levels", "1", "1", "1", "1", "WRONG"), "'WRONG' is not"), (("",), "needs a folder"),
    (("--no-http", "WRONG"), "'WRONG' is not"), (("--port=1", "WRONG"), "'WRONG' is not"),
    (("--install-service", "WRONG"), "'WRONG' is not"), ((".", "music"), "not both"),
    ((".", "--dj", "music"), "not both"), (("--demo", "."), "is not expected here"),
    (("--install-only", "."), "is not expected here"), (("--dj", "--port", "1"), "needs a folder"),
    (("--dj",), "needs a folder"), (("--uninstall", "."), "takes no other option"),
    (("--uninstall-service", "."), "is not expected here"), (("label:",), "label of a file system"),
    ((".", "--dj-fallback"), "needs a folder"), (("--dj-fallback", "."), "to play first"),
    ((".", "--dj-fallback", "WRONG"), "'WRONG' is not a folder"),
    (("a file", "--dj-fallback", "music"), "'a file' is not a folder"),
    (("a.toml", "--dj-fallback", "music"), "not a set file"),
    ((".", "--dj-fallback", ".", "--dj-fallback=music"), "not both"),
    (("--uninstall", "--dj-fallback", "."), "takes no other option"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), WRONG_WORDS, ids=lambda value: str(value)[:40])
def test_a_word_that_is_no_folder_is_said_before_anything_is_installed(
    sandbox: Sandbox, words: tuple[str, ...], said: str
) -> None:
    (sandbox.project / "a file").touch()
    (sandbox.project / "music").mkdir()
    result = sandbox.run("start-crowdstream.sh", *words, env={"HOME": str(sandbox.project)})
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("start-crowdstream.sh: ") and said in line
    assert sandbox.notes() == [] and not (sandbox.project / ".venv").exists()


@pytest.mark.parametrize(
    ("words", "server"),
    [
        (["my music"], ""), (["my music", "--no-http"], " --no-http"),
        (["--no-http", "--levels", "1", "1", "0", "0", "my music"], " --no-http --levels 1 1 0 0"),
        (["night.toml", "--osc-allow", "10.0.0.1", "10.0.0.2"], " --osc-allow 10.0.0.1 10.0.0.2"),
        (["--dj=~/my music"], ""),
    ],
)  # fmt: skip
def test_a_folder_alone_is_played(sandbox: Sandbox, words: list[str], server: str) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    (sandbox.project / "my music").mkdir()
    (sandbox.project / "night.toml").touch()
    home = {"HOME": str(sandbox.project), "DJ": "1"}
    result = sandbox.run("start-crowdstream.sh", *words, env=home)
    assert result.returncode == 0, result.stderr
    [played] = [note for note in sandbox.notes() if "crowdstream dj" in note]
    what = "night.toml" if "night.toml" in words else "my music"
    assert f"crowdstream dj {'PROJECT/' if '~' in words[0] else ''}{what} --port 57120" in played
    crowd = "--movement-map PROJECT/configs/crowd.toml"
    assert f"python PROJECT/audio_server.py{server} {crowd}" in sandbox.notes()


def test_the_script_knows_how_many_words_each_option_takes(sandbox: Sandbox) -> None:
    actions = [
        (flag, action) for action in build_parser()._actions for flag in action.option_strings
        if flag.startswith("--") and flag != "--help"
    ]  # fmt: skip
    assert len(actions) > 40
    script = (sandbox.project / "start-crowdstream.sh").read_text()
    function = re.search(r"^words_of\(\).*?^}$", script, re.MULTILINE | re.DOTALL)
    assert function
    ask = function[0] + '\nfor one in "$@"; do words_of "$one"; echo "$words"; done'
    flags = [flag for flag, _ in actions]
    done = subprocess.run(
        ["bash", "-c", ask, "_", *flags], capture_output=True, text=True, check=True
    )
    known = dict(zip(flags, map(int, done.stdout.split()), strict=True))
    for flag, action in actions:
        wanted = {None: 1, 0: 0, "+": 1000}.get(action.nargs, action.nargs)
        assert known[flag] == wanted, flag


def test_the_command_is_linked_where_commands_of_the_user_are(sandbox: Sandbox) -> None:
    home = sandbox.temporary / "home"
    home.mkdir()
    env = {"HOME": str(home), "DESTDIR": str(sandbox.temporary / "root")}
    link = home / ".local/bin/crowdstream"
    ours = sandbox.project / ".venv/bin/crowdstream"
    sandbox.run("start-crowdstream.sh", "--install-only", env=env)
    assert not link.parent.exists(), "a folder that is not there is not made"
    link.parent.mkdir(parents=True)
    result = sandbox.run("start-crowdstream.sh", "--install-only", env=env)
    assert link.readlink() == ours and "once" in result.stdout and "in PATH" in result.stdout
    link.unlink()
    path = f"{sandbox.fakes}:{link.parent}"
    result = sandbox.run("start-crowdstream.sh", "--install-only", env={**env, "PATH": path})
    assert f"crowdstream is now a command: {link}" in result.stdout
    again = sandbox.run("start-crowdstream.sh", "--install-only", env=env)
    assert str(link) not in again.stdout
    # One of a copy that is gone is replaced.
    link.unlink()
    link.symlink_to("/nowhere/.venv/bin/crowdstream")
    sandbox.run("start-crowdstream.sh", "--install-only", env=env)
    assert link.readlink() == ours
    result = sandbox.run("start-crowdstream.sh", "--uninstall", "--yes", env=env)
    assert f"    {link} " in result.stdout and not link.is_symlink()


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_a_command_of_that_name_that_is_not_ours_stays(sandbox: Sandbox, kind: str) -> None:
    home = sandbox.temporary / "home"
    link = home / ".local/bin/crowdstream"
    link.parent.mkdir(parents=True)
    if kind == "file":
        link.write_text("mine")
    else:
        other = sandbox.temporary / "other/.venv/bin/crowdstream"
        other.parent.mkdir(parents=True)
        other.touch()
        link.symlink_to(other if kind == "link" else "/opt/pipx/crowdstream")
    before = link.lstat().st_ino, link.lstat().st_mtime_ns
    env = {"HOME": str(home), "DESTDIR": str(sandbox.temporary / "root")}
    result = sandbox.run("start-crowdstream.sh", "--install-only", env=env)
    assert result.returncode == 0 and f"{link} already exists and is kept" in result.stdout
    sandbox.run("start-crowdstream.sh", "--uninstall", "--yes", env=env)
    assert (link.lstat().st_ino, link.lstat().st_mtime_ns) == before


def test_paths_that_are_there_are_passed_on(sandbox: Sandbox) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    (sandbox.project / "a file").touch()
    options = [
        "--media-root", ".", "--deck-a", "a file", "--config=a file", "--log-file", "log",
        "--record-folder", "not yet there", "--deck-b=~/a file", "--http-cert", "auto",
    ]  # fmt: skip
    home = {"HOME": str(sandbox.project)}
    result = sandbox.run("start-crowdstream.sh", *options, env=home)
    assert result.returncode == 0, result.stderr
    assert sandbox.notes()[0] == f"python PROJECT/audio_server.py {' '.join(options)}"


def test_a_dj_that_calls_its_arguments_wrong_is_not_started_again(sandbox: Sandbox) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    python = sandbox.project / ".venv/bin/python"
    python.write_text(python.read_text().replace(
        "*/audio_server.py*)", '*"crowdstream dj"*) exit 2 ;;\n*/audio_server.py*)\n    sleep 2'
    ))  # fmt: skip
    sandbox.run("start-crowdstream.sh", "--dj", ".", env={"DJ": "1"})
    assert sum("crowdstream dj" in note for note in sandbox.notes()) == 1


@pytest.mark.parametrize("user", [0, 1000])
def test_what_another_user_has_installed_is_left_alone(sandbox: Sandbox, user: int) -> None:
    sandbox.run("start-crowdstream.sh", "--install-only")
    with (sandbox.project / "requirements.txt").open("a") as file:
        file.write("another\n")
    sandbox.fake("id", f"#!/bin/bash\n[ $1 = -un ] && echo guest || echo {user}\n")
    sandbox.without("stat")
    sandbox.fake("stat", '#!/bin/bash\n[ "$2" = %u ] && echo 1234 || echo anna\n')
    # As a test may run as root, to whom every folder can be written, [ is told so.
    env = {"BASH_ENV": str(sandbox.temporary / "env")}
    (sandbox.temporary / "env").write_text(
        '[() { case "$*" in "-w "*".venv ]") return 1 ;; esac; builtin [ "$@"; }\n'
    )
    result = sandbox.run("start-crowdstream.sh", "--install-only", env=env)
    assert result.returncode == 1
    assert "belongs to anna, and this is guest: nothing was changed" in result.stderr
    assert f"{'runuser -u anna' if user == 0 else 'su anna'}" in result.stderr
    assert sandbox.notes() == [] and (sandbox.project / ".venv/bin/python").exists()


# Uninstalling --------------------------------------------------------------------------------


def installed_home(sandbox: Sandbox) -> Path:
    """A home folder after some use: what goes, and what stays."""
    sandbox.run("start-crowdstream.sh", "--install-only")
    home = sandbox.temporary / "home"
    for name in (
        ".cache/crowdstream/kernels/0123/a.nbi", ".config/crowdstream/http-token",
        ".local/share/crowdstream/library.db", ".local/share/crowdstream/library.db-wal",
        ".local/state/crowdstream/events.jsonl", ".local/state/crowdstream/events.jsonl.1",
        ".local/state/crowdstream/installation-57120.json",
        ".local/state/crowdstream/midi-learned-nano.toml",
        ".config/systemd/user/crowdstream.service",
        ".config/systemd/user/crowdstream-dj.service",
        "Music/track.wav", "Music/track.crowdstream.toml", ".config/other/file",
        ".local/share/crowdstream/recordings/night.wav",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    return home


def files(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


KEPT = [
    ".config/other/file", ".local/share/crowdstream/recordings/night.wav",
    ".local/state/crowdstream/midi-learned-nano.toml",
    "Music/track.crowdstream.toml", "Music/track.wav",
]  # fmt: skip


def test_uninstalling_lists_all_and_removes_it(sandbox: Sandbox) -> None:
    home = installed_home(sandbox)
    sandbox.fake("systemctl", '#!/bin/bash\nprintf "systemctl %s\\n" "$*" >>"$NOTES"\n')
    result = sandbox.run(
        "start-crowdstream.sh", "--uninstall", "--yes",
        env={"HOME": str(home), "DESTDIR": str(sandbox.temporary / "root")},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert files(home) == KEPT
    assert not (sandbox.project / ".venv").exists()
    assert (sandbox.project / "start-crowdstream.sh").exists()
    for name in (
        sandbox.project / ".venv", home / ".cache/crowdstream", home / ".config/crowdstream",
        home / ".local/share/crowdstream/library.db",
        home / ".local/state/crowdstream/events.jsonl.1",
        home / ".config/systemd/user/crowdstream.service",
    ):
        assert f"    {name} " in result.stdout
    assert "recordings stay" in result.stdout
    assert sandbox.notes() == [
        "systemctl --user disable --now crowdstream-dj.service", "systemctl --user daemon-reload",
        "systemctl --user disable --now crowdstream.service", "systemctl --user daemon-reload",
    ]  # fmt: skip
    again = sandbox.run(
        "start-crowdstream.sh", "--uninstall", "--yes",
        env={"HOME": str(home), "DESTDIR": str(sandbox.temporary / "root")},
    )  # fmt: skip
    assert again.returncode == 0 and "nothing is installed here" in again.stdout


def test_uninstalling_removes_the_state_of_a_service(sandbox: Sandbox) -> None:
    state = sandbox.temporary / "root/var/lib/crowdstream"
    kept = ["midi-learned-nano.toml", "recordings/night.wav"]
    for name in (
        "events.jsonl", "installation-57120.json", "http-token", "http-cert.pem", "http-key.pem",
        "library.db", "library.db-wal", "library.db.old-1", "crowdstream.log", *kept,
    ):  # fmt: skip
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).touch()
    env = {"HOME": str(sandbox.temporary), "DESTDIR": str(sandbox.temporary / "root")}
    result = sandbox.run("start-crowdstream.sh", "--uninstall", "--yes", env=env)
    assert result.returncode == 0, result.stderr
    assert files(state) == kept


def test_uninstalling_removes_nothing_without_a_yes(sandbox: Sandbox) -> None:
    home = installed_home(sandbox)
    before = files(home)
    env = {"HOME": str(home), "DESTDIR": str(sandbox.temporary / "root")}
    result = sandbox.run("start-crowdstream.sh", "--uninstall", env=env)
    assert result.returncode == 1 and "nothing was removed" in result.stderr
    assert str(home / ".cache/crowdstream") in result.stdout
    wrong = sandbox.run("start-crowdstream.sh", "--uninstall", "--port", "1", env=env)
    assert wrong.returncode == 2
    assert files(home) == before and (sandbox.project / ".venv").exists()


def test_sudo_is_used_where_it_needs_no_password(sandbox: Sandbox) -> None:
    sandbox.fake("id", "#!/bin/bash\necho 1000\n")
    sandbox.fake("sudo", '#!/bin/bash\n[ "$1" != -n ] || shift\n[ "$1" = true ] || "$@"\n')
    sandbox.without("portaudio")
    result = sandbox.run("start-crowdstream.sh", "--install-only")
    assert result.returncode == 0, result.stderr
    assert any(note.startswith("apt-get") for note in sandbox.notes())


def test_a_missing_compiler_is_named(sandbox: Sandbox) -> None:
    sandbox.without("gcc")
    sandbox.fake("id", "#!/bin/bash\necho 1000\n")
    result = sandbox.run("start-crowdstream.sh")
    assert result.returncode == 1
    assert "'apt-get install -y --no-install-recommends gcc libc6-dev" in result.stderr


def test_without_apt_get_the_packages_are_named(sandbox: Sandbox) -> None:
    sandbox.without("apt-get", "portaudio")
    result = sandbox.run("start-crowdstream.sh")
    assert result.returncode == 1
    assert "portaudio19-dev" in result.stdout
    assert "no apt-get" in result.stderr


def test_two_installations_at_once_wait_for_each_other(sandbox: Sandbox) -> None:
    holder = ["flock", str(sandbox.project), "-c", "echo held; read -r line"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(holder, text=True, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "held\n"
        sandbox.notes_file.write_text("")
        script = [str(sandbox.project / "start-crowdstream.sh"), "--install-only"]
        env = {"PATH": str(sandbox.fakes), "NOTES": str(sandbox.notes_file)}
        with subprocess.Popen(script, text=True, env=env, stdout=subprocess.PIPE) as waits:
            assert waits.stdout is not None
            assert any("waiting for it" in line for line in waits.stdout)
            assert sandbox.notes() == [] and waits.poll() is None
            other.communicate("\n")
            waits.communicate()
    assert waits.returncode == 0
    assert sandbox.notes() == INSTALLATION


COMPILE = "python -P -m crowdstream compile"
SWEEP = "python -P -m tests.support.processes RUN"
PYTEST = (
    "python -P -m pytest -p tests.support.summary -o console_output_style=classic -n CORES "
    "--no-loadscope-reorder --basetemp RUN/t --results RUN/results-{} {}"
)


def runs(sandbox: Sandbox) -> list[str]:
    """What `run-tests.sh` has called after the installation, without what differs each time."""
    text = "\n".join(sandbox.notes())
    text = re.sub(r"\S*/cs-\w{6}|(?<= )cs-\w{6}", "RUN", text)
    return re.sub(r"-n \d+ ", "-n CORES ", text).split("\n")


def packages(sandbox: Sandbox) -> set[str]:
    """The system packages that the last run has installed."""
    calls = [note.split() for note in sandbox.notes() if note.startswith("apt-get")]
    return {word for call in calls for word in call[call.index("--no-install-recommends") + 1 : -1]}


def test_the_whole_run_installs_every_tier_and_is_one_session(sandbox: Sandbox) -> None:
    result = sandbox.run("run-tests.sh")
    assert result.returncode == 0, result.stderr
    notes = runs(sandbox)
    assert {"jackd2", "pulseaudio", "pulseaudio-utils", "git"} <= packages(sandbox)
    installed = [note for note in notes if "pip install -rPROJECT/tests" in note]
    assert installed == [
        "python -m pip install -rPROJECT/tests/requirements.txt -rPROJECT/tests/static/"
        "requirements.txt",
        "python -m pip install -rPROJECT/tests/requirements.txt",
        "python -m pip install -rPROJECT/tests/requirements.txt -rPROJECT/tests/browser/"
        "requirements.txt",
    ]
    every = " ".join(f"tests/{tier}" for tier in TIERS)
    assert notes[-3:] == [COMPILE, PYTEST.format(1, every), SWEEP]


def test_the_unit_tier_needs_no_program_of_the_system(sandbox: Sandbox) -> None:
    result = sandbox.run("run-tests.sh", "unit", "-k", "limiter")
    assert result.returncode == 0, result.stderr
    notes = runs(sandbox)
    assert not packages(sandbox)
    assert notes[-3:] == [COMPILE, PYTEST.format(1, "tests/unit -k limiter"), SWEEP]
    again = sandbox.run("run-tests.sh", "unit")
    assert again.returncode == 0 and not [note for note in runs(sandbox) if "pip" in note]


def test_a_tier_installs_its_own_programs_only(sandbox: Sandbox) -> None:
    sandbox.without("chromium")
    sandbox.run("run-tests.sh", "browser")
    assert packages(sandbox) == {"chromium"}


def test_where_there_is_a_browser_without_windows_it_is_installed(sandbox: Sandbox) -> None:
    name = "chromium-headless-shell"
    sandbox.fake("apt-cache", f'#!/bin/bash\n[ "$2" != {name} ] || echo "$2:"\n')
    sandbox.run("run-tests.sh", "browser")
    assert packages(sandbox) == {name}
    sandbox.fake(name, "#!/bin/bash\n")
    sandbox.run("run-tests.sh", "browser")
    assert not packages(sandbox)


def test_arguments_install_what_the_tests_that_they_select_need(sandbox: Sandbox) -> None:
    sandbox.without("chromium")
    selected = {"SELECTED": "tests/browser/test_page_dj.py::test_x"}
    result = sandbox.run("run-tests.sh", "-k", "page", env=selected)
    assert result.returncode == 0, result.stderr
    assert packages(sandbox) == {"chromium"}
    assert runs(sandbox)[-2] == PYTEST.format(1, "-k page")


def test_any_failure_and_any_process_left_behind_fails_the_run(sandbox: Sandbox) -> None:
    sandbox.run("run-tests.sh", "unit")
    for failing in ("PYTEST_STATUS", "SWEEP_STATUS"):
        assert sandbox.run("run-tests.sh", "unit", env={failing: "1"}).returncode == 1
        assert runs(sandbox)[-1] == SWEEP
    assert not list(sandbox.temporary.iterdir()), "the run's files are gone"


def test_a_repeated_run_is_compared(sandbox: Sandbox) -> None:
    assert sandbox.run("run-tests.sh", "--repeat", "2", "unit").returncode == 0
    assert runs(sandbox)[-4:] == [
        PYTEST.format(1, "tests/unit"), PYTEST.format(2, "tests/unit"),
        "python -P -m tests.support.summary RUN/results-*", SWEEP,
    ]  # fmt: skip
    for wrong in ((), ("0",), ("many",)):
        result = sandbox.run("run-tests.sh", "--repeat", *wrong)
        assert result.returncode == 1 and "--repeat 10" in result.stderr
        assert sandbox.notes() == []


def test_fuzzing_goes_on_where_atheris_cannot_be_had(sandbox: Sandbox) -> None:
    sandbox.run("run-tests.sh", "unit")
    sandbox.run("run-tests.sh", "--fuzz", "5", "osc")
    assert sandbox.notes() == ["python -P -m tests.fuzz.run 5 osc"]
    result = sandbox.run(
        "run-tests.sh", "--fuzz", "5", env={"ATHERIS_STATUS": "1", "PIP_STATUS": "1"}
    )
    assert sandbox.notes() == [
        "python -P -m pip install -r tests/fuzz/atheris.txt", "python -P -m tests.fuzz.run 5",
    ]
    assert "continues without it" in result.stdout


def test_ci_only_runs_the_tests() -> None:
    lines = (PROJECT / ".ci" / "run").read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert len(lines) == 2
    assert lines[1].endswith('/../run-tests.sh"')


@pytest.mark.parametrize("name", ["start-crowdstream.sh", "run-tests.sh", ".ci/run"])
def test_scripts_can_be_started(name: str) -> None:
    assert os.access(PROJECT / name, os.X_OK)
    subprocess.run(["bash", "-n", PROJECT / name], check=True)


def test_without_room_for_temporary_files_nothing_is_started(sandbox: Sandbox) -> None:
    sandbox.fake("df", "#!/bin/bash\nprintf 'Avail\\n  299\\n'\n")
    result = sandbox.run("run-tests.sh", "unit")
    assert result.returncode == 1 and not sandbox.notes()
    assert result.stderr == (
        f"crowdstream: {sandbox.temporary} has only 299 MB free and the tests need 1500 MB: free"
        " some, or set TMPDIR to another folder.\n"
    )
    result = sandbox.run("run-tests.sh", "unit", env={"TMPDIR": "/no/such/folder"})
    assert result.returncode == 1 and not sandbox.notes()
    assert result.stderr == (
        "crowdstream: /no/such/folder is not a writable folder: set TMPDIR to one with 1500 MB"
        " free.\n"
    )


@pytest.mark.parametrize(("status", "left"), [("28", "9000"), ("1", "63")])
def test_a_run_whose_disk_becomes_full_says_so_last(
    sandbox: Sandbox, status: str, left: str
) -> None:
    sandbox.run("run-tests.sh", "unit")
    # Enough at the beginning, and `left` after that.
    sandbox.fake(
        "df", "#!/bin/bash\n"
        f"[ -e {sandbox.fakes}/asked ] && free={left} || free=9000\n"
        f": >{sandbox.fakes}/asked\nprintf 'Avail\\n%s\\n' $free\n",
    )  # fmt: skip
    result = sandbox.run("run-tests.sh", "--repeat", "2", "unit", env={"PYTEST_STATUS": status})
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"crowdstream: the disk of {sandbox.temporary} became full: free 1500 MB there, or set"
        " TMPDIR to another folder, and run this again."
    )
    tested = [note for note in runs(sandbox) if "-m pytest" in note]
    assert len(tested) == (1 if status == "28" else 2)
    assert not list(sandbox.temporary.iterdir()), "the run's files are gone"


def test_a_second_ctrl_c_does_not_keep_the_files_of_a_run(sandbox: Sandbox) -> None:
    sandbox.run("run-tests.sh", "unit")
    environment = {
        "PATH": str(sandbox.fakes), "NOTES": str(sandbox.notes_file), "SWEEPING": "yes",
        "TMPDIR": str(sandbox.temporary), "PYTEST_STATUS": "1",
    }  # fmt: skip
    command = [str(sandbox.project / "run-tests.sh"), "unit"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(  # type: ignore[call-overload]
        command, text=True, env=environment, start_new_session=True, **pipes
    ) as run:
        assert any(line == "sweeps\n" for line in run.stdout)
        assert list(sandbox.temporary.iterdir())
        os.killpg(run.pid, signal.SIGINT)
        run.communicate("\n")
    assert run.returncode == 1
    assert not list(sandbox.temporary.iterdir()), "the run's files are gone"
