"""The callback that does nothing."""

import pytest

from benchmarks.common import BenchmarkError
from benchmarks.empty_callback import EmptyCallback
from contrib.soundcard import no_card


def test_it_runs_on_the_built_in_clock_and_counts() -> None:
    with EmptyCallback("null", None, 256, 44100.0, {}) as empty:
        empty.begin()
        counted = empty.end()
    assert counted["underruns"] >= 0
    assert counted["cpu_seconds"] >= 0.0


def test_it_closes_its_device_by_itself() -> None:
    with EmptyCallback("null", None, 256, 44100.0, {}) as empty:
        pass
    # Ended by force, it would leave a JACK server hanging.
    assert empty.exit_status == 0


def test_no_device_is_an_error_with_its_reason(tmp_path_factory: pytest.TempPathFactory) -> None:
    env = no_card(tmp_path_factory.mktemp("card"))
    with pytest.raises(BenchmarkError, match="empty callback"):
        EmptyCallback("pyaudio", "no such device", 256, 44100.0, env).__enter__()
