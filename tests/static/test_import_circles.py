"""No modules of the program import each other in a circle, not even for type annotations."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Mapping

import pytest

from tests.support.environment import PROJECT

# Imports that close a circle, with the reason why each is accepted.
ALLOWED = {
    (
        "crowdstream.control.processes.buffer_resize",
        "crowdstream.control.processes.engine_pool",
    ): "one names the type of the object "
    "that the other passes to it: they form one unit, split into two files because of its length",
}


def sources() -> dict[str, str]:
    """The text of every module of the program, by module name."""
    found = {}
    for path in sorted((PROJECT / "crowdstream").rglob("*.py")):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """The modules of `modules` that each one imports, at any place and for any purpose."""
    found: dict[str, set[str]] = {}
    for name, text in modules.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                wanted |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{one.name}" for one in node.names}
                wanted |= inner & modules.keys() or {node.module}
        found[name] = (wanted & modules.keys()) - {name}
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules that form an import circle; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [str(one) for one in error.args[1]]
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = imports(sources())
    assert len(graph) > 300
    for module, imported in ALLOWED:
        assert imported in graph[module], "an exception that is no longer needed is removed"
        graph[module].discard(imported)
    assert circle(graph) == []


@pytest.mark.parametrize(
    "text",
    [
        "import p.b",
        "from p import b",
        "from p.b import thing",
        "def late():\n    from p.b import thing",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.b import Thing",
    ],
)
def test_a_circle_is_found_for_every_kind_of_import(text: str) -> None:
    graph = imports({"p": "", "p.a": text, "p.b": "from p.c import x", "p.c": "from p import a"})
    assert set(circle(graph)) == {"p.a", "p.b", "p.c"}


def test_imports_in_one_direction_are_not_a_circle() -> None:
    texts = {"p": "", "p.a": "from p import b, c", "p.b": "import p.c", "p.c": "import os"}
    assert imports(texts)["p.a"] == {"p.b", "p.c"}
    assert circle(imports(texts)) == []
