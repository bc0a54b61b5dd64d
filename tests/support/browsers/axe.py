"""axe-core, the accessibility checker, in the page of any browser.

The package axe-playwright-python contains its script (MIT; axe-core itself: MPL-2.0).
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from tests.support.browsers.window import Window


def load_axe(window: Window) -> None:
    """Load axe into the page if necessary, as a script of the test instead of the page."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found and found.origin
    script = Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    # Not as an element, because the page's security policy forbids such scripts.
    window.evaluate(f"(() => {{ {script}\n return true; }})()")


def violations(window: Window, targets: bool = True, place: str = "") -> list[str]:
    """Return axe's findings in the current page: one line for each violated rule.

    All of its rules are checked, including best practices. `targets`: also check the target size of
    WCAG 2.2, which axe disables by default; axe considers elements scrolled under a bar as too
    small. `place`: a selector of the part of the page to check, default all of it.
    """
    options = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": targets}}}
    context = json.dumps({"include": [[place]]}) if place else "document"
    found: list[dict[str, Any]] = window.evaluate(
        f"axe.run({context}, {json.dumps(options)}).then((got) => got.violations.map((one) => ({{"
        " rule: one.id, count: one.nodes.length,"
        " where: one.nodes.slice(0, 4).map((node) => node.target.join(' ')),"
        " why: one.nodes[0].failureSummary.split('\\n').slice(1, 3).join(' ') })))"
    )
    return [f"{one['rule']} ({one['count']}): {one['where']}: {one['why']}" for one in found]
