"""The command `crowdstream` of this source tree, from whatever folder it is run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from crowdstream.cli import main

sys.exit(main())
