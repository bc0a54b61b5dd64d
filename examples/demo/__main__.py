"""Start the demo, as ``python -m examples.demo`` or by naming this folder."""

import sys
from pathlib import Path

# Named as a folder, Python puts that folder on the path instead of the project's.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.demo.runner import main

if __name__ == "__main__":
    sys.exit(main())
