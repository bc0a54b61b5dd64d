# PYTHON_ARGCOMPLETE_OK
"""`python -m crowdstream` is the command `crowdstream`."""

import sys

from crowdstream.cli import main

if __name__ == "__main__":
    sys.exit(main())
