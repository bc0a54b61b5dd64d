"""Adding a module is adding a file."""

from __future__ import annotations

import pytest

from tests.integration.engine.conftest import Afresh

TRIES = """
import sys
from crowdstream.control.reference import reference
assert "numba" not in sys.modules, "control has no use for numba"
assert "#### `halve`" in reference() and "what is left" in reference()
import crowdstream
assert sys.argv[1] in crowdstream.__file__
from pathlib import Path
from tests.support.offline_server import Rig, level, playing, write
rig = Rig()
file = write(Path(sys.argv[1]) / "steady.wav", level(2))
playing(rig, str(file))
rig.send("/fx/modules")
assert ("halve", "share", 0.0, 1.0, 0.5, "", "what is left") in rig.heard("/fx/modules.reply")
rig.send("/deck/A/fx/insert", 1, "halve")
rig.run(1024)
assert rig.out[-1].tolist() == [0.125, 0.125], rig.out[-1]
rig.send("/deck/A/fx/set", 1, "share", 0.25)
rig.send("/deck/A/fx/insert", 2, "reverb", "mix", 0)
rig.run(2048)
assert rig.out[-1].tolist() == [0.0625, 0.0625], rig.out[-1]
assert not rig.fails()
rig.close()
"""


@pytest.mark.timeout(1800)  # it compiles everything anew, which takes minutes under emulation
def test_a_new_file_is_found_documented_and_runs(afresh: Afresh) -> None:
    done = afresh.run(TRIES)
    assert done.returncode == 0, done.stderr[-2000:]
