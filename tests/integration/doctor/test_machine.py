"""Programs that the doctor runs."""

from __future__ import annotations

from crowdstream.doctor.check import Machine


def test_programs_that_are_missing_fail_or_hang_say_nothing() -> None:
    here = Machine()
    assert here.run(["true"]) == ""
    assert here.run(["echo", "x"]) == "x"
    assert here.run(["false"]) is None
    assert here.run(["no-such-program-here"]) is None
