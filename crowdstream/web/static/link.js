// The state of the connection, said plainly: what is shown while it is away is old.

import { setText } from "./controls/dom.js";
import { say } from "./controls/say.js";

const LOOK_ONLY = "This page may only look. To change things, open it with the address that the "
  + "server printed, which has the token in it.";
const AWAY = "No connection to the server: trying again. What is shown is what was known last.";

// What changes something, and so does nothing in a page that may only look.
const CHANGING = [
  ".deck .button, .mixer .button, .panel-buses .button, .panel-health .button, .dj-orders .button",
  ".load-to .button, .top-record .button, .clock .button:not(summary)",
  ".deck select:not(.tempo-range, .jump-size), .mixer select, .panel-buses select",
  ".panel-health select, .dj-orders select, .clock select, .knob, .fader",
].join(", ");
const LOOKING = "[data-action=open-library], [data-action^=stem-more], [data-action^=fx-slot]";
const USING = new Set(["Enter", " ", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp",
  "PageDown", "Home", "End", "Delete", "Backspace"]);

/** Mark what does nothing in a page that may only look, and say why when it is tried. */
function lockControls(live) {
  const locked = () => document.body.classList.contains("read-only");
  function mark() {
    const on = locked();
    for (const one of document.querySelectorAll(CHANGING)) {
      if (one.matches(LOOKING)) continue;
      if (on) one.setAttribute("aria-disabled", "true");
      else one.removeAttribute("aria-disabled");
    }
  }
  let timer = 0;
  const observer = new MutationObserver(() => {
    timer ||= setTimeout(() => {
      timer = 0;
      mark();
    });
  });
  live.events.addEventListener("hello", () => {
    mark();
    observer.disconnect();
    if (!locked()) return;
    for (const id of ["desk", "dock"]) {
      observer.observe(document.getElementById(id), { childList: true, subtree: true });
    }
  });
  function refuse(event) {
    if (!locked() || !(event.target instanceof Element)) return;
    if (!event.target.closest("[aria-disabled=true]")) return;
    if (event.type === "keydown" && !USING.has(event.key)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.type !== "wheel" && event.type !== "dblclick") say(LOOK_ONLY);
  }
  for (const type of ["pointerdown", "mousedown", "click", "dblclick", "keydown", "wheel"]) {
    addEventListener(type, refuse, { capture: true, passive: false });
  }
}

export function showLink(live) {
  const place = document.getElementById("link");
  const banner = document.getElementById("banner");

  lockControls(live);
  let wrote = null; // whether this page could change things, when it was connected last

  function draw() {
    const { state } = live;
    const open = state === "open";
    const write = open && live.hello.write;
    document.body.dataset.link = state;
    document.getElementById("desk").setAttribute("aria-busy", open ? "false" : "true");
    setText(place, open ? (write ? "Live" : "Read only") : state === "lost" ? "Offline" : "Connecting");
    banner.hidden = write || state === "connecting";
    setText(banner, open ? LOOK_ONLY : AWAY);
    if (!open || write === wrote) return;
    // A live region that was hidden until now is not read out by every screen reader.
    if (!write) say(LOOK_ONLY);
    else if (wrote === false) say("This page may change things now");
    wrote = write;
  }
  live.events.addEventListener("state", draw);
}
