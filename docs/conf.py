"""How Sphinx builds the documentation: `sphinx-build -W docs docs/_build/html`.

The build needs no network, and the result is complete on its own: it can be read from disk, and the
server serves it under `/docs`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crowdstream import __version__

project = "CrowdStream"
author = "the CrowdStream developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
nitpicky = True

# Anchors of headings up to this level can be linked as `page.md#heading`, as on code hosts.
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]

# Blocks without a language are OSC messages or output; guessing at them would colour them wrongly.
highlight_language = "text"

autodoc_typehints = "description"
autodoc_typehints_format = "short"
nitpick_ignore_regex = [("py:.*", r".*")]  # names in signatures; links between pages stay checked

html_theme = "furo"
html_title = f"CrowdStream {release}"
html_static_path = ["_static"]
html_css_files = ["served.css"]
html_js_files = [("served.js", {"defer": "defer"})]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
