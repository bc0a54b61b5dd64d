// Assembles the page: decks, mixer, dock, and the view switch of small screens.

import { h, setText } from "./controls/dom.js";
import { icon } from "./controls/icons.js";
import { announce } from "./controls/announce.js";
import { makeDeck } from "./decks/deck.js";
import { makeDock } from "./dock.js";
import { listenForKeys } from "./keys.js";
import { live } from "./live.js";
import { showLink } from "./link.js";
import { makeClock } from "./mixer/clock.js";
import { makeMixer } from "./mixer/mixer.js";
import { makeRecorder } from "./mixer/record.js";
import { makeStart } from "./start.js";
import { takeTable } from "./table.js";

const DECKS = 4;
// A phone in portrait or landscape; the same condition as in style/layout.css.
const SMALL = matchMedia("(max-width: 699px), (max-height: 499px) and (max-width: 1179px)");
const VIEWS = [
  ["A", null, "Deck A"], ["B", null, "Deck B"], ["C", null, "Deck C"], ["D", null, "Deck D"],
  ["mixer", "mixer", "Mixer"], ["library", "folder", "Library"], ["buses", "send", "Sends"],
  ["pads", "pads", "Pads"], ["dj", "headphones", "DJ"], ["health", "heart", "Health"],
];

function build() {
  const desk = document.getElementById("desk");
  const mixer = makeMixer(live);
  const decks = Array.from({ length: DECKS }, (_, index) => makeDeck(live, index));
  desk.append(...decks.map((deck) => deck.element), mixer.element);
  document.querySelector(".top-clock").append(makeClock(live));
  document.querySelector(".top-record").append(makeRecorder(live));
  const dock = makeDock(live);
  const show = views(decks, mixer, dock);
  live.events.addEventListener("open", ({ detail }) => (SMALL.matches ? show(detail) : dock.open(detail)));
  const links = decks.map((deck) => deck.link);
  listenForKeys(live, links, dock, show);
  makeStart(live, dock.loads);
  addParts(decks);
}

// Optional parts of the page: if one fails to load, the rest still works.
async function addParts(decks) {
  try {
    const { Waveform } = await import("./waveform/waveform.js");
    for (const { waveform, link } of decks) new Waveform(waveform, link.letter, live);
  } catch (error) {
    console.error("waveforms:", error);
  }
  try {
    const { mountListen } = await import("./listen/listen.js");
    const listen = document.getElementById("listen");
    mountListen(listen, live);
    // The button is always visible; the other controls are in a popover.
    const own = listen.querySelector(".listen-button");
    own.classList.add("button", "toggle");
    document.getElementById("listen-button").append(own);
    document.getElementById("above").append(listen.querySelector(".listen-twice"));
  } catch (error) {
    console.error("audio stream:", error);
  }
}

// A small screen shows one view at a time; a deck's channel strip moves into the deck's view.
function views(decks, mixer, dock) {
  const bar = document.getElementById("views");
  const buttons = new Map();
  function show(name) {
    document.body.dataset.view = name;
    for (const [view, button] of buttons) {
      if (view === name) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    if (SMALL.matches && dock.names.includes(name)) dock.open(name);
    place();
    if (SMALL.matches) scrollTo(0, 0);
  }
  function place() {
    const name = document.body.dataset.view;
    const inDeck = SMALL.matches && name !== "mixer";
    for (const { element, strip } of decks) {
      const home = inDeck ? element : mixer.strips;
      if (strip.parentElement !== home) home.append(strip);
    }
  }
  for (const [name, face, label] of VIEWS) {
    const button = h("button", { type: "button", class: "view", "data-view": name, title: label,
      "aria-label": label, onclick: () => show(name) }, face ? icon(face) : name);
    if (!face) button.dataset.deck = name;
    buttons.set(name, button);
    bar.append(button);
  }
  SMALL.addEventListener("change", () => show(document.body.dataset.view));
  for (const { link } of decks) {
    link.on((state) => {
      buttons.get(link.letter).classList.toggle("runs", state.voice >= 0);
    });
  }
  show("A");
  return show;
}

// Popovers close when something else is touched.
addEventListener("pointerdown", (event) => {
  for (const fold of document.querySelectorAll("details[open]")) {
    if (!fold.contains(event.target)) fold.open = false;
  }
});

// Dropping a file from another program would replace the page, and so stop its sound.
for (const type of ["dragover", "drop"]) {
  addEventListener(type, (event) => {
    if (!event.dataTransfer || ![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
    if (type === "drop") announce("Files cannot be dropped here: load tracks from the library");
  });
}

let built = false;
live.events.addEventListener("hello", ({ detail }) => {
  takeTable(detail.table);
  document.body.classList.toggle("read-only", !detail.write);
  if (!built) build();
  built = true;
});
live.events.addEventListener("about", ({ detail }) => {
  if (live.hello) live.hello.about = detail;
});
showLink(live);
setText(document.getElementById("link"), "Connecting");
live.start();
