"""The files of the page."""

from __future__ import annotations

from crowdstream.web.app import PAGE, PageFiles
from tests.support.web_client import ask


def test_browsers_look_for_a_newer_version_of_each_file_and_load_no_other() -> None:
    files = PageFiles(directory=PAGE)
    first = ask(files, "GET", "/live.js", waits=True)
    assert first.status == 200 and first.headers["cache-control"] == "no-cache"
    again = ask(files, "GET", "/live.js", waits=True, if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"
