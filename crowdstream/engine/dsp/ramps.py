"""Ramps: every gain, level and rate moves in a straight line to where it is told to go.

A ramp is a function of frames, not of blocks: cutting a block differently gives the same
values, bit for bit.
"""

from __future__ import annotations

from crowdstream.engine.jit.compile import kernel


@kernel
def set_ramp(ramp, target, frames):
    """Send the ramp to `target` in `frames` frames, from what it is now; 0: at once."""
    ramp.target = target
    if frames <= 0 or ramp.value == target:
        ramp.value = target
        ramp.step = 0.0
        ramp.left = 0
    else:
        ramp.step = (target - ramp.value) / frames
        ramp.left = frames


@kernel
def fill_ramp(ramp, out, count):
    """Write the next `count` values to `out` and advance; True when they are not all equal."""
    if ramp.left == 0:
        value = ramp.value
        for i in range(count):
            out[i] = value
        return False
    for i in range(count):
        if ramp.left > 0:
            ramp.left -= 1
            ramp.value = ramp.target if ramp.left == 0 else ramp.value + ramp.step
        out[i] = ramp.value
    return True
