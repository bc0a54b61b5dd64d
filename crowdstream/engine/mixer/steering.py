"""The output's rate: the mix is resampled so that several rooms play the same frame together.

Each room renders the same mix, frame for frame, but its sound card's clock is off by up to some
hundred ppm. So the engine renders slightly more or fewer frames than the device requests, and a
windowed sinc interpolates between them. Everything in the mix, and every frame number, stays as it
is without the correction: only the position of the device in the mix is fractional.

The line holds the latest frames of the mix: `STEER_KEPT` of the past, some of which lie ahead of
the playhead, because the interpolator reaches `AHEAD` frames beyond it. Those are rendered when the
correction begins, so the sound is not delayed. At a rate of 0 from a whole frame on, the output is
that of the mix bit for bit.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import BANK_TAPS, PHASES, STEER_KEPT, TAP_MARGIN
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

STEER_PASS = 448  # frames of the device per pass; with `AHEAD` and `MAX_RATE` below `STEER_FRAMES`
TAPS = BANK_TAPS[0]
BEHIND, AHEAD = TAPS // 2 - 1, TAPS // 2  # frames that the interpolator reads around the playhead
MAX_RATE = 0.01  # 17 cents, for a room that returns; in step, it is a hundredth of that
MAX_SLEW = 0.004  # change of the rate per second: a pitch that glides instead of stepping


@kernel
def begin_pass(address, count):
    """Prepare a pass of `count` frames; return how many frames of the mix are missing for it."""
    steering = views.steering(address)[0]
    frame = views.clock(address)[0].frame
    if steering.engaged and (steering.end != frame or steering.filled > 0):
        # Another engine has rendered, or died between its turn and the end of its pass.
        steering.engaged = 0
        steering.restarts += 1
    steering.filled = 0
    if steering.engaged == 0:
        line = views.steer_line(address)
        for i in range(STEER_KEPT):
            for channel in range(4):
                line[i, channel] = 0.0
        steering.engaged = 1
        steering.rate = 0.0
        steering.place = frame
        steering.fraction = 0.0
        steering.end = frame
    if steering.engaged == 2:
        return 0
    wanted = steering.wanted if math.isfinite(steering.wanted) and steering.on else 0.0
    wanted = min(max(wanted, -MAX_RATE), MAX_RATE)
    step = MAX_SLEW * count / views.header(address)[0].sample_rate
    steering.rate += min(max(wanted - steering.rate, -step), step)
    reach = math.floor(steering.fraction + (count - 1) * (1.0 + steering.rate)) + AHEAD
    return max(0, int(steering.place + reach + 1 - steering.end))


@kernel
def fill_line(address, count):
    """Append `count` frames, which were rendered to `steer_mix` and to the end of `cue_out`."""
    line = views.steer_line(address)
    mix = views.float32_samples(address + views.STEER_MIX_AT)
    cue = views.cue_out(address)
    for i in range(count):
        line[STEER_KEPT + i, 0] = mix[2 * i]
        line[STEER_KEPT + i, 1] = mix[2 * i + 1]
        line[STEER_KEPT + i, 2] = cue[TAP_MARGIN + i, 0]
        line[STEER_KEPT + i, 3] = cue[TAP_MARGIN + i, 1]
    steering = views.steering(address)[0]
    steering.filled = count
    steering.end += count


@kernel
def _interpolate(address, first, fraction, out, at, share):
    # Write a frame of the device. `first`: index of the line under the playhead. `share` of the
    # frame itself is mixed in, by which the fraction is faded out.
    line = views.steer_line(address)
    table = views.table(address)
    cue = views.cue_out(address)
    phase = fraction * PHASES
    whole = int(phase)
    between = views.F32(phase - whole)
    a = views.F32(0.0)
    b = views.F32(0.0)
    c = views.F32(0.0)
    d = views.F32(0.0)
    for k in range(TAPS):
        near = table[TAPS * whole + k]
        weight = near + between * (table[TAPS * (whole + 1) + k] - near)
        i = first - BEHIND + k
        a += weight * line[i, 0]
        b += weight * line[i, 1]
        c += weight * line[i, 2]
        d += weight * line[i, 3]
    if share > 0.0:
        s = views.F32(share)
        a += s * (line[first, 0] - a)
        b += s * (line[first, 1] - b)
        c += s * (line[first, 2] - c)
        d += s * (line[first, 3] - d)
    out[2 * at] = a
    out[2 * at + 1] = b
    if at < TAP_MARGIN:
        cue[at, 0] = c
        cue[at, 1] = d


@kernel
def _drain(address, out, at, count):
    # Play what lies ahead of the playhead as it is, and end the correction.
    steering = views.steering(address)[0]
    line = views.steer_line(address)
    cue = views.cue_out(address)
    count = min(count, int(steering.end - steering.place))
    first = int(STEER_KEPT - (steering.end - steering.place))
    for i in range(count):
        out[2 * (at + i)] = line[first + i, 0]
        out[2 * (at + i) + 1] = line[first + i, 1]
        if at + i < TAP_MARGIN:
            cue[at + i, 0] = line[first + i, 2]
            cue[at + i, 1] = line[first + i, 3]
    steering.place += count
    if steering.place >= steering.end:
        steering.engaged = 0
    return count


@kernel
def end_pass(address, out, at, count):
    """Write up to `count` frames for the device to `out`, from its frame `at` on.

    Their cue bus goes to `cue_out`. Returns their number: it is lower when the correction ends.
    """
    steering = views.steering(address)[0]
    if steering.engaged == 2:
        return _drain(address, out, at, count)
    line = views.steer_line(address)
    place = steering.fraction
    step = 1.0 + steering.rate
    ending = steering.on == 0 and steering.rate == 0.0
    # Index of the playhead in the line, whose last frame precedes `end`.
    filled = steering.filled
    base = int(STEER_KEPT + filled - (steering.end - steering.place))
    for i in range(count):
        position = place + i * step
        whole = int(position)
        share = (i + 1) / count if ending else 0.0
        _interpolate(address, base + whole, position - whole, out, at + i, share)
    position = place + count * step
    whole = int(position)
    steering.place += whole
    steering.fraction = position - whole
    if ending:
        steering.fraction = 0.0
        steering.engaged = 2
    for i in range(STEER_KEPT):
        for channel in range(4):
            line[i, channel] = line[filled + i, channel]
    steering.filled = 0
    return count
