// The start card: how to play music, while all decks are empty.

import { h, setText } from "./controls/dom.js";
import { button } from "./controls/button.js";
import { announce } from "./controls/announce.js";

const MEMORY = "crowdstream.start"; // in sessionStorage: the user has closed the card
const OFFERED = 5; // tracks to choose from
const LOOK_MS = 400; // after the decks became empty: the first pictures arrive one by one
const START = "./start-crowdstream.sh";

export function makeStart(live, loads) {
  const element = document.getElementById("start");
  const title = h("h2", { id: "start-title" }, "Nothing is playing yet");
  const choice = h("div", { class: "start-choice" });
  const where = h("p", { class: "start-where" });
  const close = button("icon:close", "Close the start card", () => {
    remember();
    draw();
  }, { class: "quiet start-close", "data-action": "start-close" });
  element.setAttribute("aria-labelledby", "start-title");
  element.append(title, choice, where, close);
  let closed = recalled();
  let requested = false;

  function idle() {
    const empty = [..."ABCD"].every((letter) => {
      const state = live.get(`deck.${letter}`);
      return state && state.state === "empty" && !state.incoming;
    });
    const buffers = Object.keys(live.get("buffers") || {}).length;
    return empty && !buffers && !(live.get("dj") || {}).there;
  }
  function draw() {
    const on = !closed && live.hello && idle();
    element.hidden = !on;
    if (!on) return;
    setText(where, whereText(live));
    if (!requested) fill();
  }
  async function fill() {
    requested = true;
    let found = null;
    try {
      const response = await fetch("/library?limit=50");
      if (response.ok) found = await response.json();
      else requested = false; // the server is busy
    } catch {
      requested = false; // retried at the next draw
    }
    if (!found) return;
    const tracks = (found.entries || []).filter((one) => one.kind !== "folder").slice(0, OFFERED);
    const folders = (found.entries || []).length > tracks.length;
    choice.replaceChildren(...(found.count ? offers(tracks, folders) : commands()));
  }
  function offers(tracks, folders) {
    const write = live.hello.write;
    const pick = tracks.map((one) => button(one.title || one.name, `Play ${one.title || one.name} on deck A`,
      () => play(one), { class: "start-track" }));
    const open = button("Open the library", "Open the library to choose a track", () => {
      live.events.dispatchEvent(new CustomEvent("open", { detail: "library" }));
    }, { "data-action": "start-library" });
    const text = write
      ? (tracks.length ? "Choose a track to play:" : "Choose a track from a folder:")
      : "This page is view-only. With the token you can play:";
    if (!write) pick.forEach((one) => one.setAttribute("aria-disabled", "true"));
    const more = folders || tracks.length ? open : null;
    return [h("p", {}, text), h("div", { class: "start-tracks" }, ...pick, more),
      h("p", { class: "hint" }, "Or let the DJ mix everything: start the server with"),
      command(`${START} --dj FOLDER`)];
  }
  function commands() {
    return [
      h("p", {}, "The server has no music folder. Restart it with one of these commands:"),
      h("dl", { class: "start-commands" },
        ...[["your music, for you to mix", `${START} --media-root ~/Music`],
          ["your music, mixed by the DJ", `${START} --dj ~/Music`],
          ["a demo with four generated tracks", `${START} --demo`]].flatMap(([what, text]) =>
          [h("dt", {}, what), h("dd", {}, command(text))])),
    ];
  }
  async function play(entry) {
    if (!live.writable) return;
    const letter = loads.free || "A";
    if (await loads.load(letter, entry.full, entry.title || entry.name)) {
      live.order(`/deck/${letter}/play`);
    }
  }
  function remember() {
    closed = true;
    try {
      sessionStorage.setItem(MEMORY, "closed");
    } catch {
      // Without sessionStorage the card stays closed until the page is reloaded.
    }
  }

  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    if (!idle()) element.hidden = true;
    timer = setTimeout(draw, LOOK_MS);
  };
  for (const letter of "ABCD") live.on(`deck.${letter}`, soon);
  for (const key of ["dj", "buffers", "health"]) live.on(key, soon);
  live.events.addEventListener("hello", () => {
    requested = false;
    soon();
  });
  soon();
}

function command(text) {
  const copy = button("Copy", `Copy ${text}`, async () => {
    try {
      await navigator.clipboard.writeText(text);
      announce("Copied");
    } catch {
      // Browsers provide no clipboard over plain HTTP: select the text instead.
      getSelection().selectAllChildren(code);
      announce("The command is selected: press Ctrl + C to copy it");
    }
  }, { class: "copy", "data-action": "copy" });
  const code = h("code", {}, text);
  return h("span", { class: "command" }, code, copy);
}

// Where the sound comes out: at the server's sound card, or only in browsers.
function whereText(live) {
  const { driver, device } = live.get("health") || {};
  const here = "“Listen” above plays the mix in this browser.";
  if (!driver) return here;
  if (driver === "null") return `The server has no sound card. ${here}`;
  return `The mix plays on the server${device ? `, on ${device}` : ""}. ${here}`;
}

function recalled() {
  try {
    return sessionStorage.getItem(MEMORY) === "closed";
  } catch {
    return false;
  }
}
