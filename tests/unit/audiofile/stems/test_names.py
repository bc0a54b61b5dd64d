"""Recognition of stems by file names of separators and sequencers, and in song titles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.audiofile.stems.names import RELEASE, REST, kind_of, read_name, read_names

FOUR = ["drums", "bass", "vocals", "other"]
UVR = "1_S (Live)_({})_Kim_Vocal_2"


def names(*stems: str) -> list[str]:
    return [part.name for part in read_names(stems)]


@pytest.mark.parametrize(
    ("pattern", "words", "expected"),
    [
        ("{}", FOUR, FOUR),  # Demucs, Spleeter, Open-Unmix
        ("{}", [*FOUR, "guitar", "piano"], [*FOUR, "guitar", "piano"]),  # Demucs with six stems
        ("{}", ["vocals", "no_vocals"], ["vocals", "no_vocals"]),  # Demucs --two-stems
        ("{}", ["vocals", "accompaniment"], ["vocals", "accompaniment"]),
        ("Night Drive_{}", FOUR, FOUR),  # Demucs --filename
        ("{} - Night Drive", FOUR, FOUR),
        (UVR, ["Vocals", "Instrumental"], ["vocals", "instrumental"]),
        (UVR, ["Lead Vocals", "Backing Vocals"], ["lead_vocals", "backing_vocals"]),
        ("S_({})_htdemucs_ft", ["Vocals", "Drums", "Bass"], ["vocals", "drums", "bass"]),
        ("S_({})_model_bs_roformer_ep_317_sdr_12", ["Vocals", "Other"], ["vocals", "other"]),
        ("S_{}_split_by_lalalai", ["vocals", "no_vocals"], ["vocals", "no_vocals"]),
        ("S_{}_split_by_lalalai", ["drum", "no_drum"], ["drums", "no_drums"]),
        ("S_{}_split_by_lalalai", ["acoustic_guitar", "electric_guitar", "synthesizer"],
         ["acoustic_guitar", "electric_guitar", "synth"]),
        ("Night-{}-Bb minor-124bpm-440hz", FOUR, FOUR),  # Moises
        ("Night [{}]", ["music", "vocals"], ["music", "vocals"]),  # VocalRemover
        ("Night - {}", ["Vocals", "Drums", "Bass", "Other"], ["vocals", "drums", "bass", "other"]),
        ("Night {}", ["Drums", "1-Bass", "Lead Vox", "Master", "A-Reverb"],
         ["drums", "bass", "lead_vocals", "master", "reverb"]),  # Ableton Live
        ("Night_{}", ["Kick", "Bass", "Vox", "Master"], ["kick", "bass", "vocals", "master"]),
        ("{}_bip", ["Drum Kit", "Lead Vox", "BGVs"], ["drums", "lead_vocals", "backing_vocals"]),
        ("{}", ["01 Kick", "02 Snare", "03 HiHats"], ["kick", "snare", "hats"]),
        ("Night (Original Mix)_({})", ["Vocals", "Instrumental"], ["vocals", "instrumental"]),
        ("20240101_a1_night_{}_mdx23c", ["vocals", "instrum"], ["vocals", "instrumental"]),
        ("Night ({} Stem)", ["Drums", "Synths"], ["drums", "synth"]),
        ("LeadVox {}", ["Bass", "Keys"], ["bass", "keys"]),
    ],
)  # fmt: skip
def test_stem_names_of_separators_and_sequencers_are_recognised(
    pattern: str, words: list[str], expected: list[str]
) -> None:
    assert names(*(pattern.format(word) for word in words)) == expected


@pytest.mark.parametrize(
    "name",
    ["All About That Bass", "Bass-Hunter", "Drumsound", "eardrums", "Keys to the City", "Loop 3",
     "Drums of Death - Karma", "Voices Carry"],
)  # fmt: skip
def test_stem_words_within_a_title_are_ignored(name: str) -> None:
    part = read_name(name)
    assert (part.kind, part.name) == ("", name)


def test_versions_of_a_release_are_recognised() -> None:
    versions = ["Original Mix", "Instrumental", "Radio Edit", "Extended Mix"]
    kinds = [part.kind for part in read_names([f"Moon ({version})" for version in versions])]
    assert kinds == [RELEASE, REST, RELEASE, RELEASE]
    assert read_name("Intro").kind == "", "on its own, it is an album track"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("lead_vocals", "vocals"), ("bgv", "vocals"), ("kick", "drums"), ("808", "bass"),
     ("no_drums", REST), ("Loop 3", ""), ("backing_vocals", "vocals"), ("a_drums", "drums")],
)  # fmt: skip
def test_the_kind_of_a_stem_follows_from_its_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5))
def test_any_file_names_can_be_interpreted(stems: list[str]) -> None:
    parts = read_names(stems)
    assert len(parts) == len(stems) and all(part.name for part in parts)


def test_a_name_of_thousands_of_words_is_interpreted_quickly() -> None:
    # Only the beginning is examined: the work grows linearly with the length of a name.
    assert read_name("drums " * 5000 + "x").kind == ""
