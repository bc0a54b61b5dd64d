"""Files with irregular headers, and joined files: audio plays to its end."""

from __future__ import annotations

import numpy as np

from tests.support.field_cases.case import Case, Deck, check
from tests.support.offline_server import RATE

FRAME = 1.5 / RATE


def plays(case: Case, name: str, seconds: float) -> Deck:
    """Load a file, and check its length and that it is audible near its end."""
    deck = case.load(case.path(name))
    assert not deck.fails, f"{name}: {deck.fails}"
    assert abs(deck.seconds - seconds) < FRAME, f"{name}: {deck.seconds:.4f} s, not {seconds:g}"
    late = case.load(case.path(name), 0.5, ("/deck/A/seek", seconds - 0.6))
    assert float(np.abs(late.out).max()) > 1e-3, f"{name}: silent before its end"
    return deck


@check
def data_size_too_large(case: Case) -> str:
    """A data chunk claims more bytes than the file holds."""
    for name in ("plus44.wav", "cut.wav"):
        plays(case, name, 20.0)
    return "20.000 s each"


@check
def placeholder_size(case: Case) -> str:
    """A placeholder stands for the size."""
    plays(case, "two_e9.wav", 20.0)
    return "20.000 s"


@check
def missing_pad_byte(case: Case) -> str:
    """A chunk of odd size lacks its pad byte."""
    plays(case, "nopad.wav", 20.0)
    return "20.000 s"


@check
def bw64(case: Case) -> str:
    """BW64 and RF64 play identically."""
    decks = [case.load(case.path(name), 2.0) for name in ("bw64.wav", "rf64.wav")]
    assert not decks[0].fails, f"{decks[0].fails}"
    assert decks[0].seconds == decks[1].seconds
    assert np.array_equal(decks[0].out, decks[1].out), "they sound different"
    return f"{decks[0].seconds:.3f} s, sample by sample as RF64"


def check_whole_or_reported(case: Case, name: str, seconds: float, tolerance: float) -> str:
    """Check that a joined file plays whole, or that a warning reports the part that does not."""
    deck = case.load(case.path(name))
    assert not deck.fails, f"{name}: {deck.fails}"
    if abs(deck.seconds - seconds) < tolerance:
        late = case.load(case.path(name), 0.5, ("/deck/A/seek", seconds - 2.0))
        assert float(np.abs(late.out).max()) > 1e-3, f"{name}: its second part is silent"
        return f"{deck.seconds:.3f} s"
    warnings = " ".join(deck.notes)
    assert name in warnings, f"{deck.seconds:.3f} s of {seconds:g} s, the rest is not reported"
    return f"{deck.seconds:.3f} s, and the rest is reported"


@check
def chained_ogg(case: Case) -> str:
    """Two consecutive Ogg streams."""
    return check_whole_or_reported(case, "c.ogg", 50.0, FRAME)


@check
def joined_mp3(case: Case) -> str:
    """Two consecutive MP3 files."""
    return check_whole_or_reported(case, "c_vbr.mp3", 50.0, 0.15)
