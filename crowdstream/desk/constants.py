"""How much of everything there is: decks, stems, voices, pages, rings, and in which steps."""

from __future__ import annotations

DECKS = 4
BANDS = 3  # low, mid, high
STEMS = 8  # stems of one voice
VOICES = 64  # playheads that can sound at once
GHOSTS = 32  # extra slots in which a voice that jumped or restarted fades out
SLOTS = VOICES + GHOSTS
SOURCES = 1024  # stems that can be loaded at once

PAGE_BYTES = 65536
ATTACKS = 31  # attacks that one page can name: with their number they fill a cache line
ATTACK_BYTES = 2 * (1 + ATTACKS)
UNKNOWN = 65535  # in place of their number: nobody has looked for them
MAX_PAGES = 131072  # pages of one source: 13 h of 16-bit stereo, 6.7 h of float stereo

COMMAND_RING = 16384  # commands on their way to the engine; a power of two
EVENT_RING = 4096
PENDING = 8192  # commands in the engine whose frame has not come

SEGMENT = 256  # most frames rendered in one go, sized for a first-level cache
# Most frames between two moments from which another engine can go on. What keeps past sound in a
# ring has to be longer by so much: what is read is not overwritten within them.
TURN = 512
HISTORY = 192  # mixed source frames kept per voice for the interpolator
TAPE = HISTORY + 4 * SEGMENT + 256  # history and what one segment can need at rate 4
LANES = 2 * DECKS
PAIRS = LANES // 2  # stereo signals that are worked on side by side

DELAY_FRAMES = 4096  # of the limiter's look-ahead and its detector, most; a power of two
PEAK_TAPS = 32  # of each phase of the true-peak detector
PEAK_BOUND = 2.6  # no value between samples is so many times the samples around it (sum |taps|)

FILTER_STEP = 32  # frames whose coefficients are worked out together: they fit a first-level cache
FILTER_TABLE = 2049  # places of the knob whose cutoff is tabulated; in between it is linear
WAVE = 8192  # frames in which a place for a splice is looked for

# What a voice's stems are mixed to, a stereo pair each: its deck, the cue bus, the send buses,
# and each stem alone for those who record it.
PAIR_MAIN, PAIR_CUE, PAIR_BUS, PAIR_STEM = 0, 1, 2, 4
TAPE_PAIRS = PAIR_STEM + STEMS
STEM_PAST = 96  # frames kept of each stem: what a join follows, and what may be taken back
STEM_GROUP = PAIRS  # stems that are filtered side by side
STEM_GROUPS = STEMS // STEM_GROUP

BUSES = 2  # send buses
CHAINS = DECKS + BUSES + 1  # chains of effects: decks, buses, master
CHAIN_BUS, CHAIN_MASTER = DECKS, DECKS + BUSES
GRIDS = 1024  # beat grids of loaded tracks
GRID_POINTS = 512  # pairs of beat and file frame in one grid; linear between them

# Taps: rings in which others can read what passes through a place of the mixer.
TAP_FRAMES = 131072  # frames of one ring: 3 s at 44.1 kHz; a power of two
# Frames in front of `head` that the engine may be writing already: its longest block.
TAP_MARGIN = 16384
TAP_MASTER, TAP_CUE = 0, 1
TAP_DECK = 2  # + deck: after its EQ and effects, before its level
TAP_STEM = 8  # + 8 * deck + stem: the stem alone, as it goes into the deck
TAPS = TAP_STEM + STEMS * DECKS

HISTOGRAM = 64  # bins of render time and callback interval
GAPS = 256  # the latest gaps, with their causes

# Interpolator: taps, and the highest rate each bank is made for. A bank above the first
# has its cutoff lowered by that rate, so that nothing folds back when a track runs fast.
# 1.22 is as far as an 18 kHz tone can be taken up before it would fold. Behind them the same
# with about half the taps, for a machine that is overloaded. All are multiples of LANES.
PHASES = 512
BANK_RATES = (1.1, 1.22, 1.5, 2.0, 3.0, 4.0)
BANK_TAPS = (32, 40, 48, 64, 96, 128, 16, 24, 24, 32, 48, 64)
BANKS = len(BANK_RATES)
MIN_RATE, MAX_RATE = 0.25, 4.0
CURVES = 3
# Meters: groups of four stereo signals, and what can be asked for.
METER_DECKS, METER_OUTPUTS, METER_STEMS = 0, 1, 2  # outputs: master, cue; stems: + group
METER_GROUPS = METER_STEMS + STEMS * DECKS // PAIRS
UNDO_ENTRIES = 8192  # pieces of memory that a turn may change, and what they hold together
UNDO_WORDS = 1 << 21
METER_HOPS = 64  # of 10 ms in the ring

# One row more than there are: behind the last phase of a bank there is a number to be read.
TABLE = sum((PHASES + 1) * taps for taps in BANK_TAPS) + BANK_TAPS[-1]
EQ_SECTIONS = 11  # second-order filters of the EQ
