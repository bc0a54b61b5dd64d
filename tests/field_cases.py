"""Check situations that users of other audio programs have reported.

    python make_cases.py CASES                       # the inputs, one folder per case
    python tests/field_cases.py CASES [NAME ...]     # one line per case: right, wrong or no check

Exit status: 0 where all that were run are right, 1 otherwise. A case without a folder of inputs
says so and counts as neither. The checks are in `tests/support/field_cases/`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.field_cases import CHECKS, Case, MissingInputError


def run(name: str, folder: Path) -> tuple[str, str]:
    """"right", "wrong" or "missing", and what was measured or is wrong."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return "missing", "there are no inputs"
    with tempfile.TemporaryDirectory(prefix="field-") as data:
        try:
            return "right", CHECKS[name](Case(folder.resolve(), Path(data)))
        except MissingInputError as error:
            return "missing", str(error)
        except Exception as error:  # one case must not end the others
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            return "wrong", f"{kind}{reason}"


def main() -> int:
    """Run what the command line names; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", type=Path, metavar="CASES", help="a folder of make_cases.py")
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases (default: all)")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(CHECKS))
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; {', '.join(CHECKS)}")
    os.environ["XDG_CONFIG_HOME"] = os.devnull  # no settings of who runs it
    counts = {"right": 0, "wrong": 0, "missing": 0}
    for name in options.names or CHECKS:
        verdict, words = run(name, options.cases / name)
        counts[verdict] += 1
        print(f"{verdict:7}  {name:26}  {words}", flush=True)
    for folder in sorted(options.cases.iterdir()):
        if not options.names and folder.is_dir() and folder.name not in CHECKS:
            print(f"no check {folder.name:26}", flush=True)
    print(f"{counts['right']} right, {counts['wrong']} wrong, {counts['missing']} without inputs")
    return int(counts["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
