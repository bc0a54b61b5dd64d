// Keyboard shortcuts of the page, and their help. Each column of letter keys controls one deck.

import { h } from "./controls/dom.js";
import { button } from "./controls/button.js";
import { playOrPause } from "./decks/transport.js";

const ROWS = {
  play: ["KeyQ", "KeyW", "KeyE", "KeyR"],
  cue: ["KeyA", "KeyS", "KeyD", "KeyF"],
  loop: ["KeyZ", "KeyX", "KeyC", "KeyV"],
  jump: ["Digit1", "Digit2", "Digit3", "Digit4"],
};
const HELP = [
  ["Decks A, B, C, D", [
    ["Q W E R", "play/pause"], ["A S D F", "cue: return to the cue point; hold to preview"],
    ["Shift + Q W E R", "sync"], ["Z X C V", "loop on/off"], ["Shift + Z X C V", "double the loop"],
    ["Alt + Z X C V", "halve the loop"], ["1 2 3 4", "beat jump forward"], ["Shift + 1 2 3 4", "beat jump back"],
  ]],
  ["Page", [
    ["/", "search the library"], ["L", "library"], ["B", "sends and master FX"], ["P", "sample pads"],
    ["H", "health"],
    ["Esc", "close"], ["?", "this help"],
  ]],
  ["Knobs and faders", [
    ["↑ ↓ ← →", "one step; with Shift a fine step"], ["Page Up, Page Down", "a large step"],
    ["Home, End", "minimum, maximum"], ["Delete, double click", "reset to the default"],
    ["Wheel", "turn; with Shift in fine steps"],
  ]],
  ["Library", [
    ["↑ ↓", "select, also from the search field"],
    ["Enter, double click", "open a folder; load a track to a free deck"],
    ["A B C D", "load the selected track to that deck; hold to replace a playing track"],
    ["Backspace", "parent folder"], ["Drag", "onto a deck; on a touchscreen, hold first"],
    ["120-126 8A", "search by tempo and key"],
  ]],
  ["Buttons with a lock", [["Hold", "confirm: they stop a playing deck, so a click does nothing"]]],
  ["Hot cues", [["Click", "set, or jump to it"], ["Hold, Delete", "clear"]]],
];

export function listenForKeys(live, decks, dock, show) {
  const help = makeHelp();
  const held = new Map();

  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.isComposing) return;
    const { target } = event;
    if (target instanceof Element && target.closest("dialog")) return;
    if (event.key === "Escape" ? leave() : !typing(target) && (page(event) || deckKey(event))) {
      event.preventDefault();
    }
  });
  addEventListener("keyup", (event) => {
    const deck = held.get(event.code);
    held.delete(event.code);
    if (deck) deck.release();
  });
  addEventListener("blur", () => {
    for (const deck of held.values()) deck.release();
    held.clear();
  });

  function page(event) {
    if (event.altKey) return false;
    if (event.key === "?") help.toggle();
    else if (event.key === "/") dock.search();
    else if (event.code === "KeyL") dock.toggle("library");
    else if (event.code === "KeyB") dock.toggle("buses");
    else if (event.code === "KeyP") dock.toggle("pads");
    else if (event.code === "KeyH") dock.toggle("health");
    else return false;
    return true;
  }

  // Closes the topmost popover, or else the dock.
  function leave() {
    const fold = document.querySelector("details[open]");
    if (fold) {
      fold.open = false;
      fold.querySelector("summary").focus();
    } else dock.close();
    return true;
  }

  function deckKey(event) {
    for (const [what, codes] of Object.entries(ROWS)) {
      const at = codes.indexOf(event.code);
      if (at >= 0 && decks[at]) {
        if (!event.repeat || what === "jump") act(what, decks[at], event);
        return true;
      }
    }
    return false;
  }

  function act(what, deck, event) {
    if (what === "play" && event.shiftKey) deck.order("/sync", deck.state.sync ? 0 : 1);
    else if (what === "play") playOrPause(deck);
    else if (what === "jump") deck.jump(event.shiftKey ? -1 : 1);
    else if (what === "loop" && event.shiftKey) deck.resizeLoop(1);
    else if (what === "loop" && event.altKey) deck.resizeLoop(-1);
    else if (what === "loop") deck.loopOrLeave();
    else if (what === "cue") {
      held.set(event.code, deck);
      deck.press();
    }
    if (document.body.dataset.view.length === 1) show(deck.letter);
  }
}

// Whether the focused element takes text. Lists, buttons and sliders have no use for letters.
const NO_TEXT = new Set(["button", "checkbox", "color", "file", "radio", "range", "reset", "submit"]);

function typing(target) {
  if (!(target instanceof Element)) return false;
  if (target.closest("textarea, select") || target.isContentEditable) return true;
  return target instanceof HTMLInputElement && !NO_TEXT.has(target.type);
}

function makeHelp() {
  const dialog = document.getElementById("help");
  const close = button("icon:close", "Close the help", () => dialog.close(), { class: "quiet" });
  dialog.append(
    h("header", {}, h("h2", { id: "help-title" }, "Keyboard shortcuts"), close),
    h("div", { class: "help-body" }, ...HELP.map(([title, rows]) =>
      h("section", {}, h("h3", {}, title), h("dl", {}, ...rows.flatMap(([keys, text]) =>
        [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, text)]))))),
  );
  const toggle = () => (dialog.open ? dialog.close() : dialog.showModal());
  document.getElementById("help-button").addEventListener("click", toggle);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "?") dialog.close();
  });
  return { toggle };
}
