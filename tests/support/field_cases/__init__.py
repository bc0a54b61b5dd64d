"""Situations that users of other audio programs have reported, and the correct behaviour in each.

`tests/field_cases.py` runs them on a folder of inputs with one subfolder per case, named like the
case. Each module listed in `ALL` holds the checks of one subject. A check is a function that is
named like its case and decorated with `@check`. It returns its measurements as text, and raises
AssertionError with the fault.
"""

from __future__ import annotations

from tests.support.field_cases import files, folders, grids, live, tags
from tests.support.field_cases.case import CHECKS, Case, Check, MissingInputError

ALL = (folders, files, tags, grids, live)

__all__ = ["ALL", "CHECKS", "Case", "Check", "MissingInputError"]
