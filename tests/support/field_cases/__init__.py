"""Situations that people report of other audio programs, and what is right in each.

`tests/field_cases.py` runs them over a folder of inputs, one folder per case, called as the case
is. A module here holds the checks of one subject; a check is a function called as its case is,
with `@check` above it, in a module that `ALL` names. It returns what it has measured, in words,
and raises AssertionError with what is wrong.
"""

from __future__ import annotations

from tests.support.field_cases import files, folders, grids, live, tags
from tests.support.field_cases.case import CHECKS, Case, Check, MissingInputError

ALL = (folders, files, tags, grids, live)

__all__ = ["ALL", "CHECKS", "Case", "Check", "MissingInputError"]
