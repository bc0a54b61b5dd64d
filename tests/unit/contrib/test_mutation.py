"""The mutation testing tool, without the package that generates most of the mutants."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from contrib.mutation import (
    CHOSEN,
    MODULES,
    PROJECT,
    Choice,
    Mutant,
    _left_out,
    _other_exceptions,
    _without_statement,
    changed_bodies,
)

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


def test_every_excluded_limit_exists_in_a_module() -> None:
    sources = "\n".join((PROJECT / module).read_text(encoding="utf-8") for module in MODULES)
    names = {
        ast.unparse(node.targets[0])
        for node in ast.walk(ast.parse(sources))
        if isinstance(node, ast.Assign)
    }
    assert names >= CHOSEN


def test_statements_with_side_effects_are_removed_one_at_a_time() -> None:
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
        ((4, 13), True),  # a chosen limit
        ((7, 0), True),  # the decorator of a kernel
        ((8, 13), True),  # annotations
        ((8, 27), True),
        ((10, 8), False),
        ((14, 12), False),
    ],
)
def test_places_without_effect_are_not_mutated(place: tuple[int, int], left_out: bool) -> None:
    found = _left_out(ast.parse(SOURCE))
    assert any(first <= place < last for first, last in found) is left_out


def test_the_same_seed_selects_the_same_mutants() -> None:
    found = [Mutant("kind", (line, 0), str(line)) for line in range(100)]
    assert Choice().of(found) == Choice(limit=100).of(found) == found
    chosen = Choice(limit=10, seed=3).of(found)
    assert len(chosen) == 10 and chosen == Choice(limit=10, seed=3).of(found)
    assert chosen == sorted(chosen, key=lambda mutant: mutant.place)
    assert chosen != Choice(limit=10, seed=4).of(found)
    assert [mutant.place[0] for mutant in Choice(lines=(7, 3)).of(found)] == [3, 7]


def test_exception_handlers_are_replaced_one_exception_at_a_time() -> None:
    source = (
        "try:\n    go()\nexcept OSError:\n    pass\n"
        "try:\n    go()\nexcept (OSError, ssl.SSLError):\n    pass\n"
    )
    handlers = [
        [line for line in mutant.code.splitlines() if line.startswith("except")]
        for mutant in _other_exceptions(source, ast.parse(source))
    ]
    tuples = "except (OSError, ssl.SSLError):"
    assert handlers == [
        ["except FloatingPointError:", tuples],
        ["except OSError:", "except (FloatingPointError, ssl.SSLError):"],
        ["except OSError:", "except (OSError, FloatingPointError):"],
    ]


BODIES = """\
LIMIT = 5

class Counter:
    step = 1

    def add(self, number, most=9):
        def one():
            return number + 1
        return min(one(), most)

def twice(number):
    return 2 * number
"""


@pytest.mark.parametrize(
    ("was", "becomes", "names"),
    [
        ("2 * number", "2 / number", ["twice"]),
        ("2 * number", "2.0 * number", ["twice"]),
        ("number + 1", "number - 1", ["Counter.add", "Counter.add.<locals>.one"]),
        ("return min(one(), most)", "pass", ["Counter.add"]),
        ("LIMIT = 5", "LIMIT = 6", None),
        ("step = 1", "step = 2", None),
        ("most=9", "most=8", None),
        ("2 * number", "(lambda: 2 * number)()", None),
    ],
)
def test_changed_function_bodies_are_distinguished_from_import_time_code(
    was: str, becomes: str, names: list[str] | None
) -> None:
    bodies = changed_bodies(BODIES, BODIES.replace(was, becomes))
    if names is None:
        assert bodies is None
    else:
        assert bodies is not None and [code.co_qualname for code in bodies] == names
        assert [code.co_qualname for code in bodies.values()] == names


def test_a_replaced_function_body_takes_effect(tmp_path: Path) -> None:
    file = tmp_path / "bodies.py"
    file.write_text(BODIES)
    spec = importlib.util.spec_from_file_location("bodies", file)
    assert spec is not None and spec.loader is not None
    made: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    bodies = changed_bodies(BODIES, BODIES.replace("number + 1", "number + 3"))
    assert bodies is not None
    add = made.Counter.add
    assert add(None, 4) == 5
    add.__code__ = bodies[add.__code__]
    assert add(None, 4) == 7
