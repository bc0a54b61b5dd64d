"""Modules of the page in states that a server of the tests does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.page_modules import module_scripts

# `live`: a connection without a server. `show(key, value)` changes the picture; `orders`: what the
# page has sent.
HEAD = """
  document.body.replaceChildren();
  const events = new EventTarget();
  const [picture, watchers, nows, orders] = [new Map(), [], [], []];
  const live = {
    events, hello: { rate: 48000, write: true }, now: null, writable: true,
    get: (key) => picture.get(key),
    on(key, fn) {
      watchers.push([key, fn]);
      if (picture.has(key)) fn(picture.get(key));
      return () => {};
    },
    onNow: (fn) => nows.push(fn),
    async order(...values) { orders.push(values); return []; },
    async do(...values) { orders.push(values); return []; },
  };
  const show = (key, value) => {
    picture.set(key, value);
    for (const [one, fn] of watchers) if (one === key) fn(value);
  };
  const tell = (now) => { live.now = now; nows.forEach((fn) => fn(now)); };
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const wait = async (test) => {
    for (let turn = 0; !test(); turn += 1) {
      if (turn > 5000) throw new Error(`not reached: ${test}`);
      await pause(5);
    }
  };
"""


@pytest.fixture(scope="module")
def run(browser: Browser) -> Iterator[Any]:
    """`run(script)`: evaluate a script with `HEAD`."""
    with module_scripts(browser, HEAD) as made:
        yield made


def test_refused_real_time_priority_is_shown(run: Any) -> None:
    assert run("""
      const { makeHealth } = await import("/health/health.js");
      const { element, draw } = makeHealth(live);
      return [1, 0, -1].map((realtime) => {
        show("readings", { buffer_size: 256, realtime });
        draw();
        const names = [...element.querySelectorAll("dt")];
        const value = names.find((one) => one.textContent === "Priority").nextElementSibling;
        return [value.textContent, value.classList.contains("odd")];
      });
    """) == [["real-time", False], ["normal", True], ["normal", True]]


def test_a_recording_shows_no_time_before_its_first_frame_is_known(run: Any) -> None:
    assert run("""
      const { makeRecorder } = await import("/mixer/record.js");
      const control = makeRecorder(live);
      const time = control.querySelector(".record-time");
      tell({ frame: 48000 * 7200 });
      show("recording", { files: ["mix.wav"], began: null, lost: 0 });
      const before = time.textContent;
      show("recording", { files: ["mix.wav"], began: 48000 * 7199, lost: 0 });
      return [before, time.textContent];
    """) == ["", "0:01"]


def test_the_start_card_waits_for_a_server_whose_library_is_busy(run: Any) -> None:
    assert run("""
      const answers = [
        [false, { error: "the library is busy; try again" }],
        [true, { count: 1, entries: [{ kind: "file", name: "a.wav", full: "/a.wav" }] }],
      ];
      window.fetch = async () => {
        const [ok, body] = answers.shift();
        return { ok, json: async () => body };
      };
      const element = document.createElement("section");
      element.id = "start";
      document.body.append(element);
      const { makeStart } = await import("/start.js");
      makeStart(live, { free: "A" });
      for (const letter of "ABCD") show(`deck.${letter}`, { state: "empty" });
      await wait(() => answers.length === 1);
      await pause(50);
      const before = element.textContent.includes("no music folder");
      show("health", {});
      await wait(() => element.textContent.includes("a.wav"));
      return before;
    """) is False


def test_an_input_that_the_server_no_longer_has_disappears(run: Any) -> None:
    assert run("""
      const { takeTable } = await import("/table.js");
      takeTable(["/input/{input}/eq low", "/input/{input}/gain gain", "/input/{input}/level gain",
        "/input/{input}/talkover/threshold decibels", "/input/{input}/talkover/depth decibels",
        "/mix/route gain", "/mix/fx/insert slot"].map((text) => {
        const [address, name] = text.split(" ");
        return { address, args: [{ name, low: 1, high: 2, unit: "dB" }] };
      }));
      const { makeBuses } = await import("/mixer/buses.js");
      const element = makeBuses(live);
      const cards = () => element.querySelectorAll(".bus.input").length;
      const input = { state: "playing", device: "", reason: "", gain: 1, eq: [1, 1, 1],
        kill: [0, 0, 0], filter: 0, level: 1, mute: 0, listen: 0, guard: 0, talking: 0, fx: [],
        talkover: { on: 0, threshold: 1, depth: 1 } };
      show("inputs", [input, input]);
      await wait(() => cards() === 2);
      show("inputs", [input]);
      await wait(() => cards() < 2);
      return cards();
    """) == 1


def test_controllers_of_the_page_are_attached_again_and_their_leds_lit(run: Any) -> None:
    assert run("""
      const input = { id: "in", type: "input", name: "Pad", state: "connected" };
      const output = { id: "out", type: "output", name: "Pad", state: "connected" };
      const sent = [];
      output.send = (bytes) => sent.push(String(bytes));
      const access = { inputs: new Map([["in", input]]), outputs: new Map([["out", output]]) };
      navigator.requestMIDIAccess = async () => access;
      const { makeCard } = await import("/midi/midi.js");
      const card = makeCard(live);
      const state = { ports: [], learning: "", locked: false, leds: { pad: { "144 1": 127 } } };
      card.set(state);
      card.root.querySelector("[data-action=midi]").click();
      await wait(() => sent.length);
      const attached = () => orders.filter(([address]) => address === "/midi/attach");
      const counts = () => [attached().length, sent.length];
      const found = [counts()];
      card.set(state);
      events.dispatchEvent(new CustomEvent("hello"));  // the server has restarted
      found.push(counts());
      for (const port of [input, output]) {
        access[`${port.type}s`].clear();
        access.onstatechange({ port: Object.assign(port, { state: "disconnected" }) });
      }
      for (const port of [input, output]) {
        access[`${port.type}s`].set(port.id, port);
        access.onstatechange({ port: Object.assign(port, { state: "connected" }) });
      }
      found.push(counts());
      return [found, sent];
    """) == [[[1, 1], [2, 1], [3, 2]], ["144,1,127", "144,1,127"]]


def test_an_analysis_that_ended_with_the_servers_process_is_no_longer_shown(run: Any) -> None:
    assert run("""
      for (const id of ["spoken", "notes"]) {
        document.body.append(Object.assign(document.createElement("div"), { id }));
      }
      const { makeProgress } = await import("/library/analyse.js");
      const element = makeProgress(live);
      show("analysis", { running: 1, path: "0/Sets", wait: 0, tracks: 9, done: 2, share: 0.2 });
      const before = element.hidden;
      show("analysis", { running: 0, path: "", wait: 0 });
      return [before, element.hidden, document.querySelector("#spoken").textContent];
    """) == [False, True, ""]


def test_faders_that_move_without_a_server_do_not_push_events_out_of_the_log(run: Any) -> None:
    assert run("""
      const { makeLog } = await import("/health/log.js");
      const { element } = makeLog(live);
      show("events", [{ time: "2026-11-21T22:04:05.123Z", level: "error", text: "it died" }]);
      const refuse = (address) => events.dispatchEvent(new CustomEvent("refused", {
        detail: { address, args: [], reason: "not connected to the server" } }));
      for (let move = 0; move < 300; move += 1) {
        refuse("/deck/A/level");
        refuse("/deck/B/level");
      }
      return [...element.querySelectorAll(".log-text")].map((one) => one.textContent).sort();
    """) == [
        "/deck/A/level: not connected to the server", "/deck/B/level: not connected to the server",
        "it died",
    ]


def test_a_part_of_the_page_that_fails_does_not_stop_the_others(run: Any) -> None:
    assert run("""
      const { Live } = await import("/live.js");
      const [real, seen] = [new Live("ws://localhost/live"), []];
      const fail = () => { throw new Error("the server has no such value"); };
      real.on("mixer", fail);
      real.on("mixer", (value) => seen.push(value));
      real.on("clock", (value) => seen.push(value));
      real.onNow(fail);
      real.onNow(({ t }) => seen.push(t));
      real._receive({ picture: { mixer: 1, clock: 2 } });
      real._receive({ now: { t: 3, at: 3, latency: 0, decks: [] } });
      return seen;
    """) == [1, 2, 3]
