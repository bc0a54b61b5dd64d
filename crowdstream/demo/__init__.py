"""The demo: four generated tracks, and a small sequencer that mixes them over OSC.

Run it with ``crowdstream demo``.

Reading order: `songs` (the music as data); `dsp`, `drums`, `voices` (its sounds); `arrange` and
`mixdown` (from notes to stems); `tracks` (files); `plan` (the mix as a list of timed messages);
`osc` and `sequencer` (sending them); `status`, `server`, `runner` (the program).
"""
