"""The documentation under `/docs/`: read-only, confined to its folder, access controlled."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.documentation import routes
from tests.support.web_client import ask as request
from tests.support.web_client import settings

ask = partial(request, waits=True)
TOKEN = "correct-horse-battery"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A built folder with a file beside it that must not be served."""
    folder = tmp_path / "html"
    (folder / "how-to").mkdir(parents=True)
    (folder / "index.html").write_text("the index", encoding="utf-8")
    (folder / "how-to" / "record.html").write_text("how to record", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def served(folder: Path, **given: object) -> ASGIApp:
    return AccessMiddleware(settings(**given), {}).guard(Starlette(routes=routes(folder)))


def test_pages_are_served_below_docs(built: Path) -> None:
    app = served(built)
    assert ask(app, "GET", "/docs/").text == "the index"
    assert ask(app, "GET", "/docs/how-to/record.html").text == "how to record"
    assert ask(app, "HEAD", "/docs/index.html").status == 200
    moved = ask(app, "GET", "/docs")
    assert moved.status == 307 and moved.headers["location"] == "/docs/"
    assert ask(app, "GET", "/docs/missing.html").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/docs/../secret.txt", "/docs/how-to/../../secret.txt", "/docs/%2e%2e/secret.txt",
        "/docs//../secret.txt", "/docs/link.txt", "/docs/..\\secret.txt",
    ],
)  # fmt: skip
def test_files_outside_the_folder_are_not_served(built: Path, path: str) -> None:
    answer = ask(served(built), "GET", path)
    assert answer.status == 404 and b"secret" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_are_read_only(built: Path, method: str) -> None:
    answer = ask(served(built), method, "/docs/index.html", {})
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_unbuilt_documentation_returns_build_instructions(tmp_path: Path) -> None:
    app = served(tmp_path / "html")
    for path in ("/docs/", "/docs/how-to/record.html"):
        answer = ask(app, "GET", path)
        assert answer.status == 404
        assert "sphinx-build -W docs docs/_build/html" in answer.text
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("now", encoding="utf-8")
    assert ask(app, "GET", "/docs/").text == "now", "without a new start of the server"


def test_a_private_server_requires_the_token_for_the_documentation(built: Path) -> None:
    app = served(built, http_host="0.0.0.0", http_token=TOKEN, http_require_token=True)
    assert ask(app, "GET", "/docs/").status == 401
    assert ask(app, "GET", "/docs/", authorization=f"Bearer {TOKEN}").text == "the index"


def test_only_the_documentation_may_submit_forms(built: Path) -> None:
    app = served(built)
    policy = ask(app, "GET", "/docs/").headers["content-security-policy"]
    assert "form-action 'self'" in policy and "script-src 'self'" in policy
    assert "form-action 'none'" in ask(app, "GET", "/").headers["content-security-policy"]
