"""From the engine's readings to the time at which a file's first frame is audible."""

from __future__ import annotations

import pytest

from benchmarks import startup


@pytest.mark.parametrize(
    ("first", "callback", "rendered", "sounding"),
    [
        (1000, 1000, 50.0, 60.0),  # rendered by this callback, as its first frame
        (1000, 1400, 10.0, 20.0),  # four blocks of 10 ms earlier
        (1050, 1400, 10.0, 25.0),  # the same block, 5 ms inside it
        (1450, 1400, 50.0, 65.0),
    ],
)
def test_place_of_a_first_frame(
    first: int, callback: int, rendered: float, sounding: float
) -> None:
    sample = startup.place(first, callback, 50.0, 100, 10_000.0)
    assert sample.rendered_ms == pytest.approx(rendered)
    assert sample.sounding_ms == pytest.approx(sounding)
