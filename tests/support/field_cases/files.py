"""Files with odd headers, joined files: what contains sound plays to its end."""

from __future__ import annotations

import numpy as np

from tests.support.field_cases.case import Case, Deck, check
from tests.support.offline_server import RATE

FRAME = 1.5 / RATE


def plays(case: Case, name: str, seconds: float) -> Deck:
    """Load a file and check that it is so long, and sounds to its end."""
    deck = case.load(case.path(name))
    assert not deck.fails, f"{name}: {deck.fails}"
    assert abs(deck.seconds - seconds) < FRAME, f"{name}: {deck.seconds:.4f} s, not {seconds:g}"
    late = case.load(case.path(name), 0.5, ("/deck/A/seek", seconds - 0.6))
    assert float(np.abs(late.out).max()) > 1e-3, f"{name}: silent before its end"
    return deck


@check
def data_size_too_large(case: Case) -> str:
    """A data chunk that claims more than there is."""
    for name in ("plus44.wav", "cut.wav"):
        plays(case, name, 20.0)
    return "20.000 s each"


@check
def placeholder_size(case: Case) -> str:
    """A placeholder for the size."""
    plays(case, "two_e9.wav", 20.0)
    return "20.000 s"


@check
def missing_pad_byte(case: Case) -> str:
    """A chunk of odd size without its pad byte."""
    plays(case, "nopad.wav", 20.0)
    return "20.000 s"


@check
def bw64(case: Case) -> str:
    """BW64 and RF64 sound the same."""
    decks = [case.load(case.path(name), 2.0) for name in ("bw64.wav", "rf64.wav")]
    assert not decks[0].fails, f"{decks[0].fails}"
    assert decks[0].seconds == decks[1].seconds
    assert np.array_equal(decks[0].out, decks[1].out), "they sound different"
    return f"{decks[0].seconds:.3f} s, sample by sample as RF64"


def whole_or_said(case: Case, name: str, seconds: float, tolerance: float) -> str:
    """A joined file plays whole, or the reply says that it does not."""
    deck = case.load(case.path(name))
    assert not deck.fails, f"{name}: {deck.fails}"
    if abs(deck.seconds - seconds) < tolerance:
        late = case.load(case.path(name), 0.5, ("/deck/A/seek", seconds - 2.0))
        assert float(np.abs(late.out).max()) > 1e-3, f"{name}: its second part is silent"
        return f"{deck.seconds:.3f} s"
    said = " ".join(deck.notes)
    assert name in said, f"{deck.seconds:.3f} s of {seconds:g} s, and nothing said of the rest"
    return f"{deck.seconds:.3f} s, and the rest is announced"


@check
def chained_ogg(case: Case) -> str:
    """Two Ogg streams, one after the other."""
    return whole_or_said(case, "c.ogg", 50.0, FRAME)


@check
def joined_mp3(case: Case) -> str:
    """Two MP3 files, one after the other."""
    return whole_or_said(case, "c_vbr.mp3", 50.0, 0.15)
