"""Sizes of everything in the desk: decks, stems, voices, pages, rings, and processing steps."""

from __future__ import annotations

DECKS = 4
BANDS = 3  # low, mid, high
STEMS = 8  # stems per voice
VOICES = 64  # playheads that can sound at once
GHOSTS = 32  # extra slots in which a voice that has jumped or restarted fades out
SLOTS = VOICES + GHOSTS
SOURCES = 1024  # stems that can be loaded at the same time

PAGE_BYTES = 65536
ATTACKS = 31  # attacks recorded per page: with their count they fill a cache line
ATTACK_BYTES = 2 * (1 + ATTACKS)
ATTACKS_UNKNOWN = 65535  # instead of the count: the page has not been scanned for attacks
MAX_PAGES = 131072  # pages per source: 13 h of 16-bit stereo, 6.7 h of float stereo

COMMAND_RING = 16384  # commands on their way to the engine; a power of two
EVENT_RING = 4096
PENDING = 8192  # commands in the engine that wait for their frame

SEGMENT = 256  # most frames rendered in one pass, sized for a first-level cache
# Most frames between two points at which another engine can take over. A ring that keeps past sound
# must be longer by this amount, so that nothing is overwritten in the turn that reads it.
TURN = 512
HISTORY = 192  # mixed source frames kept per voice for the interpolator
TAPE = HISTORY + 4 * SEGMENT + 256  # history, and the most that one segment needs at rate 4
LANES = 2 * DECKS
PAIRS = LANES // 2  # stereo signals that are processed side by side

DELAY_FRAMES = 4096  # maximum delay of the limiter's look-ahead and detector; a power of two
PEAK_TAPS = 32  # per phase of the true-peak detector
PEAK_BOUND = 2.6  # bound on an inter-sample peak relative to the samples around it (sum |taps|)

FILTER_STEP = 32  # frames whose coefficients are computed together: they fit a first-level cache
FILTER_TABLE = 2049  # knob positions with a tabulated cutoff; linear between them
WAVE = 8192  # frames that the search for a splice point covers

# Destinations of a voice's stems, a stereo pair each: the deck, the cue bus, the send buses, and
# each stem alone for recording.
PAIR_MAIN, PAIR_CUE, PAIR_BUS, PAIR_STEM = 0, 1, 2, 4
TAPE_PAIRS = PAIR_STEM + STEMS
STEM_PAST = 96  # past frames kept per stem: a join continues them, and they may be undone
STEM_GROUP = PAIRS  # stems that are filtered side by side
STEM_GROUPS = STEMS // STEM_GROUP

BUSES = 2  # send buses
# Voices that belong to no deck: sample pads, and announcements over the ducked mix. Their numbers
# continue those of the decks.
SAMPLER, ANNOUNCER = DECKS, DECKS + 1
PLAYERS = 2
SAMPLE_PADS = 16
INPUTS = 2  # live inputs
# Frames per ring of an input, at the rate of its device: 1.4 s at 48 kHz; a power of two.
INPUT_FRAMES = 65536
CHAINS = DECKS + BUSES + 1 + INPUTS  # effect chains: decks, buses, master, inputs
CHAIN_BUS, CHAIN_MASTER = DECKS, DECKS + BUSES
CHAIN_INPUT = CHAIN_MASTER + 1
GRIDS = 1024  # beat grids of loaded tracks
GRID_POINTS = 512  # pairs of beat and file frame per grid; linear between them

# Taps: rings from which other processes read the signal at a point of the mixer.
TAP_FRAMES = 131072  # frames per ring: 3 s at 44.1 kHz; a power of two
# Frames past `head` that the engine may already be writing: its longest block.
TAP_MARGIN = 16384
# The output's resampler (`engine/mixer/steering.py`): frames of the mix that it keeps, and the most
# that one of its passes adds.
STEER_KEPT, STEER_FRAMES = 64, 512
HANDOVER_FRAMES = 128  # frames that two engines play together when one hands over: 3 ms
TAP_MASTER, TAP_CUE = 0, 1
TAP_DECK = 2  # + deck: after its EQ and effects, before its level
TAP_INPUT = 6  # + input: after its EQ and effects, before its level
TAP_STEM = 8  # + 8 * deck + stem: the stem alone, as it enters the deck
TAP_MUSIC = TAP_STEM + STEMS * DECKS  # everything but inputs and announcements, after the ducking
TAPS = TAP_MUSIC + 1

HISTOGRAM = 64  # bins of the histograms of render time and callback interval
GAPS = 256  # number of most recent gaps that are kept with their causes

# Interpolator: number of taps, and the highest rate that each bank is designed for. A bank above
# the first has its cutoff lowered by that rate, so that a track that plays fast does not alias.
# 1.22 is the highest rate at which an 18 kHz tone does not alias. The second half of the banks has
# about half the taps, for an overloaded machine. All are multiples of LANES.
PHASES = 512
BANK_RATES = (1.1, 1.22, 1.5, 2.0, 3.0, 4.0)
BANK_TAPS = (32, 40, 48, 64, 96, 128, 16, 24, 24, 32, 48, 64)
BANKS = len(BANK_RATES)
MIN_RATE, MAX_RATE = 0.25, 4.0
CURVES = 3
# Meters: groups of four stereo signals, and the groups that can be requested.
METER_DECKS, METER_OUTPUTS, METER_STEMS = 0, 1, 2  # outputs: master, cue, inputs; stems: + group
METER_GROUPS = METER_STEMS + STEMS * DECKS // PAIRS
UNDO_ENTRIES = 8192  # most pieces of memory that a turn may change, and their total size
UNDO_WORDS = 1 << 21
METER_HOPS = 64  # hops of 10 ms in the ring

# One row more than there are phases: an interpolation reads past the last phase of a bank.
TABLE = sum((PHASES + 1) * taps for taps in BANK_TAPS) + BANK_TAPS[-1]
EQ_SECTIONS = 11  # second-order filters of the EQ
