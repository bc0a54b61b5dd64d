"""Musical time: the clock's beat at a frame, and the position of a beat in a track.

Frames are those of the engine; file frames are those of a track's file.
"""

from __future__ import annotations

import math

from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

# Frames: a beat that falls this little after a frame belongs to that frame.
ROUNDING = 1e-6
FAR = 1 << 60  # later than any frame


@kernel
def beats_per_frame(address, frame):
    """Return the clock's tempo at a frame, in beats per frame."""
    clock = views.clock(address)[0]
    passed = frame - clock.tempo_frame
    if passed >= clock.tempo_left:
        return clock.tempo_end
    return clock.tempo_rate + clock.tempo_slope * max(0, passed)


@kernel
def beat_at(address, frame):
    """Return the clock's beat at a frame: the integral of the tempo, in closed form."""
    clock = views.clock(address)[0]
    passed = frame - clock.tempo_frame
    ramp = min(max(0, passed), clock.tempo_left)
    before = min(0, passed)
    beat = clock.tempo_beat + clock.tempo_rate * (before + ramp)
    return beat + 0.5 * clock.tempo_slope * ramp * ramp + clock.tempo_end * (passed - ramp - before)


@kernel
def frame_of_beat(address, beat):
    """Return the first frame at which the clock has reached `beat`."""
    clock = views.clock(address)[0]
    left = beat - clock.tempo_beat
    if left <= 0.0:
        passed = left / clock.tempo_rate
    else:
        ramp = float(clock.tempo_left)
        in_ramp = clock.tempo_rate * ramp + 0.5 * clock.tempo_slope * ramp * ramp
        if left >= in_ramp:
            passed = ramp + (left - in_ramp) / clock.tempo_end
        else:
            # The root of a quadratic, in the form without cancellation for small slopes.
            root = math.sqrt(clock.tempo_rate**2 + 2.0 * clock.tempo_slope * left)
            passed = 2.0 * left / (clock.tempo_rate + root)
    if not abs(passed) < FAR:
        return FAR
    return clock.tempo_frame + math.ceil(passed - ROUNDING)


@kernel
def set_clock(address, command):
    """Set the clock as described by `command`: see `OP_CLOCK`."""
    clock = views.clock(address)[0]
    clock.tempo_frame = command.start
    clock.tempo_beat = command.x
    clock.tempo_rate = command.y
    clock.tempo_end = command.z
    clock.tempo_left = max(0, command.loop_out)
    clock.tempo_slope = 0.0
    if clock.tempo_left > 0:
        clock.tempo_slope = (command.z - command.y) / clock.tempo_left
    else:
        clock.tempo_rate = command.z


@kernel
def fill_tempo(address, frame, count):
    """Write the tempo relative to the base tempo to `speed[0]`, per frame; True if it moves."""
    clock = views.clock(address)[0]
    factor = views.speed(address)[0]
    if frame >= clock.tempo_frame + clock.tempo_left:
        value = clock.tempo_end / clock.tempo_base
        for i in range(count):
            factor[i] = value
        return False
    for i in range(count):
        factor[i] = beats_per_frame(address, frame + i) / clock.tempo_base
    return True


@kernel
def _segment_of(beats, count, beat):
    # The index of the first point of the grid segment that contains `beat`.
    low = 0
    high = count - 2
    while low < high:
        middle = (low + high + 1) // 2
        if beats[middle] <= beat:
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def grid_at(address, number, beat):
    """Return the segment of a grid around `beat`: `(beat, file frame, frames a beat, begin, end)`.

    The first two are a point of the segment, which extends from beat `begin` to before beat `end`.
    """
    grid = views.grids(address)[number]
    at = _segment_of(grid.beats, grid.count, beat)
    frames = (grid.frames[at + 1] - grid.frames[at]) / (grid.beats[at + 1] - grid.beats[at])
    begin = grid.beats[at] if at > 0 else -math.inf
    end = grid.beats[at + 1] if at + 2 < grid.count else math.inf
    return grid.beats[at], grid.frames[at], frames, begin, end


@kernel
def frame_on_grid(address, number, beat):
    """Return the file frame (may be fractional) of a beat of a grid."""
    point, frame, frames, _begin, _end = grid_at(address, number, beat)
    return frame + (beat - point) * frames


@kernel
def beat_on_grid(address, number, frame):
    """Return the beat of a grid at a file frame (may be fractional)."""
    grid = views.grids(address)[number]
    at = _segment_of(grid.frames, grid.count, frame)
    frames = (grid.frames[at + 1] - grid.frames[at]) / (grid.beats[at + 1] - grid.beats[at])
    return grid.beats[at] + (frame - grid.frames[at]) / frames
