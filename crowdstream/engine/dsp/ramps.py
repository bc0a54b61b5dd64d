"""Ramps: every gain, level and rate moves linearly to its target.

A ramp is a function of frames, not of blocks: any division into blocks yields the same values, bit
for bit.
"""

from __future__ import annotations

from crowdstream.engine.jit.compile import kernel


@kernel
def set_ramp(ramp, target, frames):
    """Move the ramp from its value to `target` within `frames` frames; 0 sets it at once."""
    ramp.target = target
    if frames <= 0 or ramp.value == target:
        ramp.value = target
        ramp.step = 0.0
        ramp.left = 0
    else:
        ramp.step = (target - ramp.value) / frames
        ramp.left = frames


@kernel
def step_ramp(ramp):
    """Advance a ramp by one frame and return its value there."""
    if ramp.left > 0:
        ramp.left -= 1
        ramp.value = ramp.target if ramp.left == 0 else ramp.value + ramp.step
    return ramp.value


@kernel
def fill_ramp(ramp, out, count):
    """Write the next `count` values to `out` and advance; return whether the ramp was moving."""
    if ramp.left == 0:
        value = ramp.value
        for i in range(count):
            out[i] = value
        return False
    # `step_ramp` for each frame, in registers.
    value = ramp.value
    step = ramp.step
    moving = min(ramp.left, count)
    for i in range(moving):
        value += step
        out[i] = value
    if moving == ramp.left:
        value = ramp.target
        out[moving - 1] = value
    for i in range(moving, count):
        out[i] = value
    ramp.value = value
    ramp.left -= moving
    return True
