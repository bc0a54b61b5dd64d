"""The demo: four generated tracks, and a small sequencer that mixes them over OSC.

Run it with ``python -m examples.demo`` from the project's folder, or from anywhere by
naming the folder: ``python path/to/examples/demo``.

Reading order: `songs` (the music as data), `dsp`, `drums`, `voices` (its sounds), `arrange`
and `mixdown` (notes to stems), `tracks` (files); `plan` (the mix as a list of timed
messages), `osc`, `sequencer` (sending them), `status`, `server`, `runner` (the program).
"""
