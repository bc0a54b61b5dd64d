// Keys for the whole page, and the help that lists them. A column of the keyboard is a deck.

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
    ["Q W E R", "play, pause"], ["A S D F", "cue: back to the cue point; held, plays from there"],
    ["Shift + Q W E R", "sync"], ["Z X C V", "loop on, off"], ["Shift + Z X C V", "loop twice as long"],
    ["Alt + Z X C V", "loop half as long"], ["1 2 3 4", "jump ahead"], ["Shift + 1 2 3 4", "jump back"],
  ]],
  ["Page", [
    ["/", "search the library"], ["L", "library"], ["B", "sends and master effects"], ["H", "health"],
    ["Esc", "close"], ["?", "this help"],
  ]],
  ["Knobs and faders", [
    ["↑ ↓ ← →", "a step; with Shift a fine one"], ["Page Up, Page Down", "a long step"],
    ["Home, End", "the ends"], ["Delete, double click", "back to the default"],
    ["Wheel", "turns; with Shift finely"],
  ]],
  ["Library", [
    ["↑ ↓", "choose, also from the search"],
    ["Enter, double click", "open a folder; load a track to a free deck"],
    ["A B C D", "load the chosen track to that deck; held, also if it plays"],
    ["Backspace", "the folder above"], ["Drag", "onto a deck; by touch, hold first"],
    ["120-126 8A", "search by tempo and key"],
  ]],
  ["Buttons with a lock", [["Hold", "they stop what plays, and so a click does nothing"]]],
  ["Hot cues", [["Click", "set, or jump there"], ["Hold, Delete", "forget"]]],
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
    else if (event.code === "KeyH") dock.toggle("health");
    else return false;
    return true;
  }

  // What lies on top is closed first.
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

// Whether letters belong to what has the focus. A list, a button and a slider have no use for them.
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
    h("header", {}, h("h2", { id: "help-title" }, "Keys"), close),
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
