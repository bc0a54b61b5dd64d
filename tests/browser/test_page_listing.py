"""The rows of the library as the server answers them: late, in part, and not at all; loads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.page_modules import module_scripts

# `listing`: of 1000 rows, of which those of `shown` are drawn. `requests`: pages that were
# requested and not answered, with functions that answer. `timers`: what waits for a pause.
HEAD = """
  const timers = []; const requests = [];
  window.setTimeout = (then) => timers.push(then); window.clearTimeout = () => {};
  window.fetch = (url) => new Promise((resolve, reject) => {
    const page = Number(new URLSearchParams(url.split("?")[1]).get("offset")) / 100;
    const json = (body, status = 200) =>
      resolve({ ok: status === 200, status, json: async () => body });
    requests.push([page, (title, reading) => json({ count: 1000, reading,
      entries: Array.from({ length: 100 }, () => ({ title })) }), json]);
  });
  const settled = async () => { for (let turn = 0; turn < 20; turn += 1) await null; };
  const { Listing } = await import("/library/listing.js");
  let shown = [];
  const listing = new Listing(() => shown.forEach((at) => listing.row(at)));
  const answer = async (...values) => { requests.shift()[1](...values); await settled(); };
  const show = (...rows) => { shown = rows; rows.forEach((at) => listing.row(at)); };
  const requested = () => requests.map(([page]) => page);
  const pause = () => timers.splice(0).forEach((then) => then());
"""


@pytest.fixture(scope="module")
def run(browser: Browser) -> Iterator[Any]:
    """`run(script)`: evaluate a script with `HEAD`."""
    with module_scripts(browser, HEAD) as made:
        yield made


def test_tags_that_were_not_read_yet_are_requested_when_their_rows_are_shown(run: Any) -> None:
    assert run("""
      listing.open("0"); await answer("", true);
      show(0); show(150); await answer("", true);
      pause();
      const first = requested(); await answer("read", false);
      show(0);
      const second = requested(); await answer("read", false);
      return [first, second, listing.row(0).title, listing.row(150).title, requested()];
    """) == [[1], [0], "read", "read", []]


def test_a_search_without_matches_is_repeated_while_tags_are_read(run: Any) -> None:
    assert run("""
      listing.search("120-126");
      requests.shift()[2]({ count: 0, entries: [], reading: true }); await settled();
      pause();
      const again = requested(); await answer("found", false);
      return [again, listing.row(0).title];
    """) == [[0], "found"]


def test_an_analysis_refreshes_the_rows_that_are_shown(run: Any) -> None:
    assert run("""
      listing.open("0"); await answer("", false);
      for (const row of [150, 250, 350]) { show(row); await answer("", false); }
      show(0); listing.refresh();
      const first = requested(); await answer("analysed", false);
      return [first, listing.row(0).title];
    """) == [[0], "analysed"]


def test_an_answer_from_before_an_analysis_is_not_the_last_one(run: Any) -> None:
    assert run("""
      listing.open("0"); show(0);
      listing.refresh(); await answer("", false);
      const again = requested(); await answer("analysed", false);
      return [again, listing.row(0).title];
    """) == [[0], "analysed"]


def test_rows_that_cannot_be_read_are_requested_again_after_a_pause(run: Any) -> None:
    assert run("""
      listing.open("0"); await answer("", false);
      show(150);
      requests.shift()[2]({ error: "busy" }, 503); await settled();
      const [text, at_once] = [listing.status, requested()];
      pause();
      const later = requested(); await answer("read", false);
      return [text, at_once, later, listing.row(150).title];
    """) == ["The library cannot be read: busy", [], [1], "read"]


@pytest.mark.parametrize(("status", "again"), [(503, [0]), (429, [0]), (404, [])])
def test_a_search_is_repeated_while_the_library_is_busy(
    run: Any, status: int, again: list[int]
) -> None:
    # With a slow disk, searches for the first letters take all places.
    assert run(f"""
      listing.search("night");
      requests.shift()[2]({{ error: "no" }}, {status}); await settled();
      pause();
      return requested();
    """) == again


def test_a_deck_is_not_free_until_its_state_shows_what_was_loaded(run: Any) -> None:
    # The reply to the load and the state arrive on different ways.
    assert run("""
      const { Loads } = await import("/library/load.js");
      const state = { "deck.A": { state: "empty", number: 0 } };
      let inform;
      const loads = new Loads({
        get: (key) => state[key], finish: async () => {},
        on: (key, heard) => { inform = () => heard(state[key]); return () => {}; },
      });
      const before = loads.free;
      const done = loads.load("A", "/night.wav", "Night"); await settled();
      const replied = loads.free;
      state["deck.A"] = { state: "ready", number: 1, path: "/night.wav" }; inform();
      return [before, replied, await done, loads.text];
    """) == ["A", "B", True, ""]


def test_two_clicks_in_different_folders_are_no_double_click(run: Any) -> None:
    assert run("""
      const { VirtualList } = await import("/library/list.js");
      const acts = [];
      const row = () => document.createElement("div");
      const list = new VirtualList({ label: "Tracks", row, act: (at) => acts.push(at), tap() {},
        keys() {}, released() {} });
      document.body.append(list.element); list.count = 3; list.draw();
      const click = () => list.element.querySelector("[data-at='1']")
        .dispatchEvent(new MouseEvent("click", { bubbles: true }));
      click(); list.top(); click();
      const apart = [...acts];
      click();
      return [apart, acts];
    """) == [[], [1]]
