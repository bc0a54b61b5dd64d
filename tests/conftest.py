"""Tiers, a clean environment for all tests, and the fixtures that several tiers use."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from contrib.soundcard import JackDummy, PulseNull
from crowdstream.audiofile.stems import folder_cache
from crowdstream.desk import dsp_tables
from crowdstream.engine.jit import kernel_cache
from crowdstream.system.process import GIVE_WAY_VARIABLE
from tests.support import processes
from tests.support.scheduling import FileScheduling

if TYPE_CHECKING:
    from tests.support.offline_server import Rig

TESTS = Path(__file__).resolve().parent


# How long an example takes is a benchmark's business: on an emulated or busy machine any limit
# would be wrong. Examples are the same in every run: a run that is red once in fifty protects
# nothing, and the search for new inputs is the fuzzer's (docs/development/fuzzing.md).
settings.register_profile(
    "crowdstream",
    deadline=None,
    max_examples=50,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("crowdstream")

# The same for every desk, and most of what making one takes: worked out once for thousands.
for _table in ("interpolator", "peak_detector", "equalizer", "k_weighting", "knob_filter"):
    setattr(dsp_tables, _table, functools.cache(getattr(dsp_tables, _table)))

# In the idle class nothing would be done beside programs that keep all cores busy.
os.environ[GIVE_WAY_VARIABLE] = "no"

# A test outlives no loss of power: thousands of files need not reach the disk.
os.fsync = lambda fd: None
soundfile.SoundFile.flush = lambda _file: None

# One folder of compiled kernels for all tests and all their children, wherever a test moves
# XDG_CACHE_HOME or HOME to.
kernel_cache.folder()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling:
    """Distribute files, whatever `--dist` says."""
    return FileScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector away from what lives as long as the run.

    Modules and thousands of tests are no garbage: there is nothing to find while they come in, and
    later collections, some of which tests ask for, need not go through them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# A unit test starts no process: those belong to the tier of integration tests.
_NEW_PROCESS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
_unit_test = ""


def _forbid_processes(event: str, _arguments: tuple[Any, ...]) -> None:
    if _unit_test and event in _NEW_PROCESS:
        raise RuntimeError(f"{_unit_test} starts a process ({event}): move it to integration/")


sys.addaudithook(_forbid_processes)

# Root may write anywhere: a fake program was once written through a link to the real one.
_SYSTEM = ("/bin/", "/boot/", "/etc/", "/lib/", "/opt/", "/sbin/", "/usr/")
_WRITES = os.O_WRONLY | os.O_RDWR


def _protect_the_system(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not arguments[2] & _WRITES or isinstance(arguments[0], int):
        return
    path = os.path.realpath(os.fsdecode(arguments[0]))
    if path.startswith(_SYSTEM) and not path.startswith(f"{TESTS.parent}/"):
        raise PermissionError(f"tests must not write to {path}")


sys.addaudithook(_protect_the_system)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the tests of the unit tier."""
    global _unit_test
    _unit_test = item.nodeid if item.path.is_relative_to(TESTS / "unit") else ""
    try:
        return (yield)
    finally:
        _unit_test = ""


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests see no CROWDSTREAM_... variables, configuration, library or events of who runs them.

    Once for all of them: a test that sets variables restores them.
    """
    empty = tmp_path_factory.mktemp("no-configuration", numbered=False)
    verdicts = tmp_path_factory.getbasetemp() / "cache" / "crowdstream" / "folders"
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            ours = name.startswith("CROWDSTREAM_") or name == "AUDIO_BUFFER_SIZE"
            if ours and name not in (GIVE_WAY_VARIABLE, processes.MARK):
                patch.delenv(name)
        patch.setenv("XDG_CONFIG_HOME", str(empty))
        patch.setenv("XDG_DATA_HOME", str(empty))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state", numbered=False)))
        patch.delenv("STATE_DIRECTORY", raising=False)
        patch.setattr(folder_cache, "cache_folder", lambda: verdicts)
        yield


@pytest.fixture(autouse=True)
def _process_is_restored() -> Iterator[None]:
    """What a test, or a program that it runs, changes in this process affects all later tests.

    Changed levels of logging would hide lines. Children inherit the rest: with real-time priority,
    they would take the processor away from each other and from all other programs.
    """
    before = _process_state()
    yield
    assert _process_state() == before, "the process was changed and not restored"


def _process_state() -> dict[str, object]:
    ours = logging.getLogger("crowdstream")
    root = logging.getLogger()
    return {
        "levels": (root.manager.disable, root.level, ours.level, ours.propagate, ours.disabled),
        "scheduling": (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)),
        "processors": os.sched_getaffinity(0),
        "folder": os.getcwd(),
        "signals": [
            signal.getsignal(number)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        ],
    }


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A server without processes, sockets or a clock of its own: only rendering moves its time."""
    from tests.support.offline_server import Rig

    made = Rig()
    yield made
    made.close()


@pytest.fixture
def jack_card() -> Iterator[JackDummy]:
    """A JACK card at 44.1 kHz and 128 frames, for one test. Give its ``env`` to a child."""
    with JackDummy() as card:
        yield card


@pytest.fixture
def pulse_card() -> Iterator[PulseNull]:
    """A PulseAudio card at 44.1 kHz that can be recorded, for one test."""
    with PulseNull() as card:
        yield card
