"""The command of mutation testing, without the package that makes most of the mutants."""

from __future__ import annotations

import ast

import pytest

from contrib.mutation import CHOSEN, MODULES, PROJECT, Choice, Mutant, _left_out, _without_statement

SOURCE = '''\
"""A module."""

LIMIT = 5
REMEMBERED = 10


@kernel
def add(one: int, two: int | None) -> int:
    """Add."""
    log(one)
    self.sum = (
        one + two
    )
    count = 3
    if not one:
        raise ValueError(one)
    return one
'''


def test_every_module_of_the_table_has_its_tests() -> None:
    for module, tests in MODULES.items():
        assert (PROJECT / module).is_file(), module
        for test in tests:
            assert (PROJECT / test).is_file(), test


def test_every_limit_that_is_left_out_is_one_of_a_module() -> None:
    sources = "\n".join((PROJECT / module).read_text(encoding="utf-8") for module in MODULES)
    names = {
        ast.unparse(node.targets[0])
        for node in ast.walk(ast.parse(sources))
        if isinstance(node, ast.Assign)
    }
    assert names >= CHOSEN


def test_statements_that_are_there_for_their_effect_are_left_out_one_at_a_time() -> None:
    found = list(_without_statement(SOURCE, ast.parse(SOURCE)))
    assert [mutant.place for mutant in found] == [(10, 4), (11, 4), (16, 8)]
    for mutant in found:
        ast.parse(mutant.code)
        assert "    pass\n" in mutant.code
    call, assignment, refusal = (mutant.code for mutant in found)
    assert "log(one)" not in call and "self.sum" in call
    assert "self.sum" not in assignment and "one + two" not in assignment
    assert "ValueError" not in refusal and "if not one:\n        pass" in refusal


@pytest.mark.parametrize(
    ("place", "left_out"),
    [
        ((3, 8), False),  # LIMIT
        ((4, 13), True),  # a limit that was chosen
        ((7, 0), True),  # the decorator of a kernel
        ((8, 13), True),  # annotations
        ((8, 27), True),
        ((10, 8), False),
        ((14, 12), False),
    ],
)
def test_what_changes_nothing_is_left_out(place: tuple[int, int], left_out: bool) -> None:
    found = _left_out(ast.parse(SOURCE))
    assert any(first <= place < last for first, last in found) is left_out


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    found = [Mutant("kind", (line, 0), str(line)) for line in range(100)]
    assert Choice().of(found) == Choice(limit=100).of(found) == found
    chosen = Choice(limit=10, seed=3).of(found)
    assert len(chosen) == 10 and chosen == Choice(limit=10, seed=3).of(found)
    assert chosen == sorted(chosen, key=lambda mutant: mutant.place)
    assert chosen != Choice(limit=10, seed=4).of(found)
    assert [mutant.place[0] for mutant in Choice(lines=(7, 3)).of(found)] == [3, 7]
