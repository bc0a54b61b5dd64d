"""The tape: a voice's stems at the file's own rate, one frame after another.

Everything that happens in the file is settled here and in `stems`, and nowhere else: page
borders, loop wraps, sections, the end of the file, pages that are not there. What comes after
sees an endless even stream, in the order in which it is heard: a voice that runs backward is
fed backward. The stems are mixed onto it as `pairs` says.

A loop whose length is no whole number of frames is cut into laps of whole frames, so that after
any number of laps the sum is within half a frame of the exact one.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import STEM_PAST, STEMS
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.voice.stem_eq import copy_filters, filter_stems
from crowdstream.engine.voice.stem_reader import (
    OVER,
    fall_silent,
    heard_frames,
    keep_stem,
    lay_end,
    lay_stem,
    page_frames_left,
    page_of,
    recall_stem,
)
from crowdstream.engine.voice.stem_routing import clear_pairs, copy_pairs, mix_stems, shift_pairs

JOIN = 128  # frames over which a loop or section end is faded (2.9 ms: too short to hear)
MIN_SMOOTHED_LOOP_FRAMES = (
    128  # frames of a loop whose seam is smoothed; a shorter one is a waveform
)
PREROLL = 64  # frames of the file before a start that the interpolator is given to look back at


@kernel
def lap_frames(voice):
    """Whole frames of the lap that a looping voice is in."""
    if voice.loop_exact <= 0.0:
        return max(1, voice.loop_out - voice.loop_in)
    return max(1, math.floor(voice.loop_exact + voice.loop_rest + 0.5))


@kernel
def _in_loop(voice):
    # Whether the loop's border lies ahead. What is past it plays on, to the end.
    if not voice.loop:
        return False
    if voice.direction > 0:
        return voice.cursor <= voice.loop_in + lap_frames(voice)
    return voice.cursor >= voice.loop_in - 1


@kernel
def _border_ahead(voice):
    # Frames from the cursor to the loop's border, or to the end.
    if voice.direction > 0:
        border = voice.loop_in + lap_frames(voice) if _in_loop(voice) else voice.end
        return border - voice.cursor
    return voice.cursor + 1 - (voice.loop_in if _in_loop(voice) else 0)


@kernel
def _join_frames(voice):
    # Length of the fade before the loop's or section's end; 0 where the file's own end is.
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
    # Whether what leads up to a lap's beginning is faded in while the lap's end is faded out.
    # Too near the beginning of the file (its end, backward) there is not enough of it: then
    # only the end is.
    if join == 0 or not _in_loop(voice):
        return False
    if voice.direction > 0:
        return voice.loop_in >= join
    return voice.loop_in + lap_frames(voice) + join <= voice.length


@kernel
def joining(voice):
    """Whether what is fed now is the end of a lap that is being faded into the next one.

    A loop that is changed or left here has to be jumped out of: what was fed last is not what
    comes before the cursor in the file.
    """
    return _in_loop(voice) and _border_ahead(voice) <= _join_frames(voice)


@kernel
def _wrap(voice, at):
    # From the lap's border back to where a lap begins. `at`: tape frame of the first frame there.
    lap = lap_frames(voice)
    voice.cursor -= voice.direction * lap
    if voice.loop_exact > 0.0:
        voice.loop_rest += voice.loop_exact - lap
    voice.fade_lag -= voice.direction * lap  # what fades out goes on where it is
    voice.wraps += 1
    voice.wrap_at = at
    voice.wrap_length = lap
    if voice.direction > 0:
        for stem in range(voice.stems):
            if voice.hole[stem] == OVER:  # its beginning comes as it was made
                voice.hole[stem] = 0


@kernel
def _run_frames(address, voice, most):
    # How many frames from the cursor on lie within one page of each stem, or past its end.
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
    # The two sides of a splice: cosine-shaped, and of equal power as far as they are not alike.
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
    # Up to `count` more frames of all stems, after `done`: as far as nothing changes. How many.
    voice = views.voices(address)[slot]
    ahead = _border_ahead(voice)
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
        heard = heard_frames(address, slot, stem) - done
        lay_stem(address, slot, stem, at, some, heard, join, into_border, before, wrapped)
    voice.fade_left = max(0, voice.fade_left - some)
    voice.cursor += voice.direction * some
    return some


@kernel
def feed(address, slot, count):
    """Lay `count` new frames on the tape, behind `HISTORY` frames of what came before.

    The new frames lie at `tape[pair, :, HISTORY : HISTORY + count]`. Returns the pairs that
    are in use, a bit each: while all stems are silent, none is.
    """
    voice = views.voices(address)[slot]
    tape = views.stem_tape(address)
    for stem in range(voice.stems):
        recall_stem(address, slot, stem)
    done = 0
    while done < count:
        if voice.ended >= 0:
            for stem in range(voice.stems):
                lay_end(voice, stem, tape[stem], STEM_PAST + done, count - done)
            break
        wrapped = False
        if _border_ahead(voice) <= 0:
            join = _join_frames(voice)
            if not _in_loop(voice):
                voice.ended = voice.fed + done
                for stem in range(voice.stems):
                    if join == 0:
                        fall_silent(voice, stem, tape[stem], STEM_PAST + done, OVER)
                continue
            wrapped = (
                not _crossfades(voice, join)
                and lap_frames(voice) >= MIN_SMOOTHED_LOOP_FRAMES
                and voice.fed + done > 0
            )
            _wrap(voice, voice.fed + done)
        done += _lay_run(address, slot, done, count - done, wrapped)
    for stem in range(voice.stems):
        keep_stem(address, slot, stem, count)
    filter_stems(address, slot, count)
    pairs = mix_stems(address, slot, count)
    voice.fed += count
    return pairs


@kernel
def begin_tape(address, slot, start):
    """Put the playhead at file frame `start` of the voice's sources, with nothing before it.

    What has gone through the stems' filters rings on.
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
    """Give slot `target`, whose voice has been copied from `slot`, all that its tape knows."""
    past = views.stem_past(address)
    for stem in range(views.voices(address)[slot].stems):
        for channel in range(2):
            for i in range(STEM_PAST):
                past[target, stem, channel, i] = past[slot, stem, channel, i]
    copy_filters(address, target, slot)
    copy_pairs(address, target, slot)


@kernel
def take_back(address, slot, count):
    """Take the latest `count` frames off a voice's tape; they are fed anew."""
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
def next_border(voice):
    """The file frame at which the loop or the section ends that a voice plays into, forward."""
    return voice.cursor + _border_ahead(voice)


@kernel
def skim(voice, count):
    """Move the voice on by `count` frames as `feed` would, without laying any tape."""
    lag = voice.fade_lag  # that is a matter of the tape
    done = 0
    while done < count:
        some = count - done
        if _in_loop(voice):
            if _border_ahead(voice) <= 0:
                _wrap(voice, voice.fed + done)
            some = min(some, max(1, _border_ahead(voice)))
        voice.cursor += voice.direction * some
        done += some
    voice.fade_lag = lag
    voice.fed += max(0, count)


@kernel
def file_position(voice, tape_frame):
    """The file frame that lies at a frame of the tape (counted as `voice.fed`).

    Exact as far back as the wrap before the latest one, and as long as the voice has not
    been sent elsewhere; past the end it is the frame behind the last one.
    """
    fed = voice.fed
    if voice.ended >= 0:
        fed = min(fed, voice.ended)
        if tape_frame >= fed:
            return voice.cursor
    direction = voice.direction
    position = voice.cursor - direction * (fed - tape_frame)
    if tape_frame >= fed and _in_loop(voice) and _border_ahead(voice) <= 0:
        return position - direction * lap_frames(voice)
    if voice.wraps == 0 or tape_frame >= voice.wrap_at:
        return position
    lap = voice.wrap_length
    position += direction * lap
    if voice.wraps > 1:  # a loop so short that more laps than one lie in between
        if direction > 0 and position < voice.loop_in:
            position += (voice.loop_in - position + lap - 1) // lap * lap
        elif direction < 0 and position >= voice.loop_in + lap:
            position -= (position - voice.loop_in) // lap * lap
    return position


@kernel
def preroll(address, slot):
    """Have a voice that has just been put somewhere begin a little earlier on its tape.

    Its playhead stays where it is in the file, with up to `PREROLL` frames of the file fed
    before it, so that the interpolator is right from its first frame. Does nothing where a
    page of them is missing. For a voice with nothing fed yet.
    """
    voice = views.voices(address)[slot]
    step = voice.direction
    if step > 0:
        count = min(PREROLL, voice.cursor)
        border = voice.loop_in + lap_frames(voice) if voice.loop else voice.end
        if voice.cursor > border:  # not across it
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
