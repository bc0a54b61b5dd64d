"""Fixtures of all tests: a clean environment, and the virtual sound cards."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from contrib.soundcard import JackDummy, PulseNull
from crowdstream.desk import tables

# How long an example takes is a benchmark's business: on an emulated or busy machine any limit
# would be wrong.
settings.register_profile(
    "crowdstream", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("crowdstream")

# The same for every desk, and most of what making one takes: worked out once for thousands.
tables.interpolator = functools.cache(tables.interpolator)


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests see no CROWDSTREAM_... variables, configuration or library of who runs them."""
    for name in list(os.environ):
        if name.startswith("CROWDSTREAM_") or name == "AUDIO_BUFFER_SIZE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(_empty_folder(tmp_path_factory)))
    monkeypatch.setenv("XDG_DATA_HOME", str(_empty_folder(tmp_path_factory)))


def _empty_folder(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "no-configuration"
    folder.mkdir(exist_ok=True)
    return folder


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
