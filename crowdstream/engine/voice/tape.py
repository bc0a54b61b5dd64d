"""The tape: a voice's stems at the file's own sample rate, one frame after another.

This module and `stem_reader` handle everything that happens in a file: page boundaries, loop
wraps, sections, the end of the file and missing pages. Later stages see an endless, continuous
stream in playing order; a voice in reverse is fed backward. `stem_routing` mixes the stems onto
the tape.

A loop whose length is not a whole number of frames is divided into laps of whole frames, such that
after any number of laps their sum is within half a frame of the exact length.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import STEM_PAST, STEMS
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.voice.stem_eq import copy_filters, filter_stems
from crowdstream.engine.voice.stem_reader import (
    OVER,
    audible_frames,
    lay_end,
    lay_stem,
    page_frames_left,
    page_of,
    restore_history,
    save_history,
    silence_stem,
)
from crowdstream.engine.voice.stem_routing import clear_pairs, copy_pairs, mix_stems, shift_pairs

# frames of the crossfade at the end of a loop or section (2.9 ms: too short to be heard)
JOIN = 128
# frames: the seam of a shorter loop is not smoothed, as that loop is a waveform
MIN_SMOOTHED_LOOP_FRAMES = 128
PREROLL = 64  # frames of the file fed before a start, for the interpolator's left-hand taps


@kernel
def lap_frames(voice):
    """Return the length in whole frames of the lap that a looping voice is playing."""
    if voice.loop_exact <= 0.0:
        return max(1, voice.loop_out - voice.loop_in)
    return max(1, math.floor(voice.loop_exact + voice.loop_rest + 0.5))


@kernel
def _in_loop(voice):
    # Whether the loop's boundary lies ahead. A cursor past it plays on to the end of the file.
    if not voice.loop:
        return False
    if voice.direction > 0:
        return voice.cursor <= voice.loop_in + lap_frames(voice)
    return voice.cursor >= voice.loop_in - 1


@kernel
def _frames_to_boundary(voice):
    # Frames from the cursor to the loop's boundary, or to the end.
    if voice.direction > 0:
        border = voice.loop_in + lap_frames(voice) if _in_loop(voice) else voice.end
        return border - voice.cursor
    return voice.cursor + 1 - (voice.loop_in if _in_loop(voice) else 0)


@kernel
def _join_frames(voice):
    # Length of the fade before the end of the loop or section; 0 at the end of the file itself.
    if not _in_loop(voice):
        if voice.direction < 0 or voice.end >= voice.length:
            return 0
        return min(JOIN, voice.end // 2)
    lap = lap_frames(voice)
    if voice.loop_in <= 0 and lap >= voice.length:
        return 0
    return min(JOIN, lap // 2)


@kernel
def _crossfades(voice, join):
    # Whether the frames before a lap's beginning are faded in while the lap's end fades out. Too
    # near the beginning of the file (in reverse: its end) there are not enough of them, and the
    # lap's end only fades out.
    if join == 0 or not _in_loop(voice):
        return False
    if voice.direction > 0:
        return voice.loop_in >= join
    return voice.loop_in + lap_frames(voice) + join <= voice.length


@kernel
def joining(voice):
    """Return whether the cursor is in the end of a lap that is being faded into the next one.

    A change of the loop here requires a jump: the frames fed last are not those that precede the
    cursor in the file.
    """
    return _in_loop(voice) and _frames_to_boundary(voice) <= _join_frames(voice)


@kernel
def _wrap(voice, at):
    # Move the cursor from the lap's boundary to the beginning of the next lap. `at` is the tape
    # frame of the first frame there.
    lap = lap_frames(voice)
    voice.cursor -= voice.direction * lap
    if voice.loop_exact > 0.0:
        voice.loop_rest += voice.loop_exact - lap
    voice.fade_lag -= voice.direction * lap  # the side that fades out keeps its position
    voice.wraps += 1
    voice.wrap_at = at
    voice.wrap_length = lap
    if voice.direction > 0:
        for stem in range(voice.stems):
            if voice.hole[stem] == OVER:  # its beginning plays unaltered
                voice.hole[stem] = 0


@kernel
def _run_frames(address, voice, most):
    # Number of frames from the cursor on that lie within one page of each stem, or past its end.
    for stem in range(voice.stems):
        source = views.sources(address)[voice.sources[stem]]
        most = min(most, page_frames_left(source, voice.cursor, voice.direction))
        if voice.direction > 0:
            if voice.cursor < source.frames:
                most = min(most, source.frames - voice.cursor)
        elif voice.cursor >= source.frames:
            most = min(most, voice.cursor - source.frames + 1)
    return most


@kernel
def _fill_fades(address, voice, count):
    # Gains of the two sides of a splice: cosine-shaped, with equal gain for identical signals and
    # equal power for uncorrelated ones.
    fades = views.fades(address)
    done = voice.fade_length - voice.fade_left
    for i in range(count):
        turn = math.pi * (done + i + 0.5) / voice.fade_length
        come = 0.5 - 0.5 * math.cos(turn)
        go = 1.0 - come
        level = math.sqrt(come * come + go * go + 2.0 * voice.fade_alike * come * go)
        fades[0, i] = come / level
        fades[1, i] = go / level


@kernel
def _lay_run(address, slot, done, count, wrapped):
    # Lay up to `count` more frames of all stems after the first `done`, as far as nothing changes.
    # Returns the number of frames.
    voice = views.voices(address)[slot]
    ahead = _frames_to_boundary(voice)
    join = _join_frames(voice)
    some = min(count, ahead)
    into_border = join - ahead if join > 0 else -1
    if join > 0 and into_border < 0:
        some = min(some, -into_border)
    some = _run_frames(address, voice, some)
    if voice.fade_left > 0:
        some = min(some, voice.fade_left)
        _fill_fades(address, voice, some)
    before = -1
    if into_border >= 0 and _crossfades(voice, join):
        before = voice.cursor - voice.direction * lap_frames(voice)
    at = STEM_PAST + done
    for stem in range(voice.stems):
        heard = audible_frames(address, slot, stem) - done
        lay_stem(address, slot, stem, at, some, heard, join, into_border, before, wrapped)
    voice.fade_left = max(0, voice.fade_left - some)
    voice.cursor += voice.direction * some
    return some


@kernel
def feed(address, slot, count):
    """Lay `count` new frames on the tape, after `HISTORY` frames of the past.

    The new frames are at `tape[pair, :, HISTORY : HISTORY + count]`. Returns a bit mask of the
    pairs in use: 0 while all stems are silent.
    """
    voice = views.voices(address)[slot]
    tape = views.stem_tape(address)
    for stem in range(voice.stems):
        restore_history(address, slot, stem)
    done = 0
    while done < count:
        if voice.ended >= 0:
            for stem in range(voice.stems):
                lay_end(voice, stem, tape[stem], STEM_PAST + done, count - done)
            break
        wrapped = False
        if _frames_to_boundary(voice) <= 0:
            join = _join_frames(voice)
            if not _in_loop(voice):
                voice.ended = voice.fed + done
                for stem in range(voice.stems):
                    if join == 0:
                        silence_stem(voice, stem, tape[stem], STEM_PAST + done, OVER)
                continue
            wrapped = (
                not _crossfades(voice, join)
                and lap_frames(voice) >= MIN_SMOOTHED_LOOP_FRAMES
                and voice.fed + done > 0
            )
            _wrap(voice, voice.fed + done)
        done += _lay_run(address, slot, done, count - done, wrapped)
    for stem in range(voice.stems):
        save_history(address, slot, stem, count)
    filter_stems(address, slot, count)
    pairs = mix_stems(address, slot, count)
    voice.fed += count
    return pairs


@kernel
def begin_tape(address, slot, start):
    """Put the playhead at file frame `start` of the voice's sources, with an empty history.

    The stems' filters keep their state and ring on.
    """
    voice = views.voices(address)[slot]
    voice.cursor = start
    voice.fed = 0
    voice.play = 0
    voice.fraction = 0.0
    voice.ended = -1
    voice.wraps = 0
    voice.wrap_at = 0
    voice.wrap_length = 0
    voice.loop_rest = 0.0
    past = views.stem_past(address)[slot]
    for stem in range(STEMS):
        voice.hole[stem] = 0
        for channel in range(2):
            voice.offset[stem, channel] = 0.0
            for i in range(STEM_PAST):
                past[stem, channel, i] = 0.0
    clear_pairs(address, slot)
    preroll(address, slot)


@kernel
def copy_tape(address, target, slot):
    """Copy the tape state of `slot` to slot `target`, whose voice has been copied already."""
    past = views.stem_past(address)
    for stem in range(views.voices(address)[slot].stems):
        for channel in range(2):
            for i in range(STEM_PAST):
                past[target, stem, channel, i] = past[slot, stem, channel, i]
    copy_filters(address, target, slot)
    copy_pairs(address, target, slot)


@kernel
def take_back(address, slot, count):
    """Remove the latest `count` frames from a voice's tape; they will be fed again."""
    voice = views.voices(address)[slot]
    voice.cursor = file_position(voice, voice.fed - count)
    voice.fed -= count
    voice.ended = -1
    voice.wrap_at = min(voice.wrap_at, voice.fed)
    past = views.stem_past(address)[slot]
    for stem in range(voice.stems):
        for channel in range(2):
            for i in range(STEM_PAST - 1, -1, -1):
                past[stem, channel, i] = past[stem, channel, i - count] if i >= count else 0.0
    shift_pairs(address, slot, count)


@kernel
def next_boundary(voice):
    """Return the file frame at which the current loop or section ends, in forward direction."""
    return voice.cursor + _frames_to_boundary(voice)


@kernel
def skim(voice, count):
    """Advance the voice by `count` frames as `feed` would, without laying tape."""
    lag = voice.fade_lag  # concerns only the head that lays tape
    done = 0
    while done < count:
        some = count - done
        if _in_loop(voice):
            if _frames_to_boundary(voice) <= 0:
                _wrap(voice, voice.fed + done)
            some = min(some, max(1, _frames_to_boundary(voice)))
        voice.cursor += voice.direction * some
        done += some
    voice.fade_lag = lag
    voice.fed += max(0, count)


@kernel
def file_position(voice, tape_frame):
    """Return the file frame at tape frame `tape_frame` (counted like `voice.fed`).

    Exact back to the wrap before the latest one, provided that the voice has not jumped since.
    Past the end, it is the frame after the last one.
    """
    fed = voice.fed
    if voice.ended >= 0:
        fed = min(fed, voice.ended)
        if tape_frame >= fed:
            return voice.cursor
    direction = voice.direction
    position = voice.cursor - direction * (fed - tape_frame)
    if tape_frame >= fed and _in_loop(voice) and _frames_to_boundary(voice) <= 0:
        return position - direction * lap_frames(voice)
    if voice.wraps == 0 or tape_frame >= voice.wrap_at:
        return position
    lap = voice.wrap_length
    position += direction * lap
    if voice.wraps > 1:  # the loop is so short that several laps lie in between
        if direction > 0 and position < voice.loop_in:
            position += (voice.loop_in - position + lap - 1) // lap * lap
        elif direction < 0 and position >= voice.loop_in + lap:
            position -= (position - voice.loop_in) // lap * lap
    return position


@kernel
def preroll(address, slot):
    """Feed up to `PREROLL` frames of the file before the playhead of a voice just positioned.

    The playhead keeps its file position; with its history filled, the interpolator is exact from
    the first frame on. Does nothing if one of their pages is missing. Call only before anything
    has been fed.
    """
    voice = views.voices(address)[slot]
    step = voice.direction
    if step > 0:
        count = min(PREROLL, voice.cursor)
        border = voice.loop_in + lap_frames(voice) if voice.loop else voice.end
        if voice.cursor > border:  # stay on this side of it
            count = min(count, voice.cursor - border - 1)
    else:
        count = min(PREROLL, voice.length - 1 - voice.cursor)
        if voice.loop and voice.cursor < voice.loop_in - 1:
            count = min(count, voice.loop_in - 2 - voice.cursor)
    if count <= 0:
        return
    first = voice.cursor - step * count
    last = voice.cursor - step
    for stem in range(voice.stems):
        number = voice.sources[stem]
        source = views.sources(address)[number]
        for place in (first, last):
            if place < source.frames and page_of(address, number, source, place) < 0:
                return
    voice.cursor = first
    voice.play = count
