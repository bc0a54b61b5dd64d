"""axe-core, the checker of accessibility, in any browser's page.

Its script comes with the package axe-playwright-python (MIT; axe-core itself: MPL-2.0).
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from tests.support.browsers.window import Window


def load_axe(window: Window) -> None:
    """Put axe into the page, where it is not yet: as a script of the test's, not of the page's."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found and found.origin
    script = Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    # Not as an element: the page's security policy lets no such script in.
    window.evaluate(f"(() => {{ {script}\n return true; }})()")


def violations(window: Window, targets: bool = True, within: str = "*") -> list[str]:
    """What axe finds in the page as it is: one line for each rule that is broken.

    All of its rules are tried, best practices included. `targets`: the one of WCAG 2.2, too, which
    it leaves out by itself; it counts what has been scrolled under a bar as too small. `within`: a
    selector of the elements whose colours and sizes are looked at, which takes most of the time;
    all other rules look at the whole page.
    """
    options = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": targets}}}
    rules = [{"id": rule, "selector": within} for rule in ("color-contrast", "target-size")]
    found: list[dict[str, Any]] = window.evaluate(
        f"(axe.configure({{ rules: {json.dumps(rules)} }}),"
        f" axe.run(document, {json.dumps(options)})).then((got) => got.violations.map((one) => ({{"
        " rule: one.id, count: one.nodes.length,"
        " where: one.nodes.slice(0, 4).map((node) => node.target.join(' ')),"
        " why: one.nodes[0].failureSummary.split('\\n').slice(1, 3).join(' ') })))"
    )
    return [f"{one['rule']} ({one['count']}): {one['where']}: {one['why']}" for one in found]
