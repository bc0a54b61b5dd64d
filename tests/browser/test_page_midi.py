"""MIDI on the page: the ports in use, and the command that waits for a control."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.support.page_server import music_server, ready_page
from tests.support.server import until


def test_ports_are_listed_with_the_reason_why_they_are_not_connected(
    browser: Browser, tmp_path: Path
) -> None:
    with music_server(tmp_path) as running, ready_page(browser, running) as page:
        page.click("#dock [data-tab=buses]")
        expect(page.locator(".midi")).to_be_hidden()
        running.client.send("/midi/clock", "synth")
        line = page.locator(".midi li")
        expect(line).to_have_attribute("data-state", "searching")
        expect(line).to_contain_text("clock · synth · ")
        running.client.send("/midi/learn", "/deck/A/level")
        note = page.locator(".midi .note")
        expect(note).to_have_text("Move or press a control for /deck/A/level")
        running.client.send("/midi/learn/cancel")
        running.client.send("/midi/clock")
        expect(page.locator(".midi")).to_be_hidden()


# A controller of the browser's machine: WebMIDI has no devices in a browser without windows.
FAKE = """
window.sentToLeds = [];
const input = { name: "nanoKONTROL2 MIDI 1" };
const output = { name: "nanoKONTROL2 MIDI 1", id: "out", send: (bytes) => sentToLeds.push(bytes) };
navigator.requestMIDIAccess = async () => ({
  inputs: new Map([["in", input]]), outputs: new Map([["out", output]]),
});
window.midiMessage = (...bytes) => input.onmidimessage({ data: new Uint8Array(bytes) });
null;
"""


def test_a_controller_of_the_browsers_machine_plays_with_the_servers_mapping(
    browser: Browser, tmp_path: Path
) -> None:
    with music_server(tmp_path) as running, ready_page(browser, running) as page:
        page.evaluate(FAKE)
        page.click("#dock [data-tab=buses]")
        running.client.send("/midi/map/add", "korg-nanokontrol2")
        page.click("[data-action=midi]")
        until(lambda: page.evaluate("sentToLeds.some((one) => String(one) === '176,32,0')"))
        page.evaluate("midiMessage(0xB0, 32, 127)")  # S of the first channel: headphones
        until(lambda: page.evaluate("sentToLeds.some((one) => String(one) === '176,32,127')"))
        page.evaluate("midiMessage(0xB0, 0, 10)")
        status = running.client.status
        assert status()["deck.A.level"] == 1.0, "the fader has not met the value"

        def moved() -> bool:
            page.evaluate("midiMessage(0xB0, 0, 127)")
            page.evaluate("midiMessage(0xB0, 0, 64)")
            return bool(abs(status()["deck.A.level"] - 64 / 127) < 1e-3)

        until(moved)
        page.evaluate("midiMessage(0xF8)")
        page.evaluate("midiMessage(0x90, 1, 1)")
        assert running.client.status()["failed"] == 0
