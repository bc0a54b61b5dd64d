"""Programs that `doctor` runs."""

from __future__ import annotations

from crowdstream.doctor.check import Machine


def test_a_missing_or_failing_program_has_no_output() -> None:
    here = Machine()
    assert here.run(["true"]) == ""
    assert here.run(["echo", "x"]) == "x"
    assert here.run(["false"]) is None
    assert here.run(["no-such-program-here"]) is None
