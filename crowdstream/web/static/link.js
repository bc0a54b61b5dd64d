// The state of the connection, and the lock of a view-only page.

import { setText } from "./controls/dom.js";
import { announce } from "./controls/announce.js";

const VIEW_ONLY_TEXT = "View only. To control the mix, open this page with the URL that the server "
  + "printed: it contains the token.";
const AWAY = "No connection to the server: reconnecting. The page shows the last known state.";

// Controls that change something, and are therefore disabled on a view-only page.
const CHANGING = [
  ".deck .button, .mixer .button, .panel-buses .button, .panel-pads .button, .panel-health .button, .dj-orders .button",
  ".load-to .button, .top-record .button, .clock .button:not(summary)",
  ".deck select:not(.tempo-range, .jump-size), .mixer select, .panel-buses select, .panel-pads select",
  ".panel-health select, .dj-orders select, .hours select, .clock select, .knob, .fader",
].join(", ");
const LOOKING = "[data-action=open-library], [data-action^=stem-more], [data-action^=fx-slot]";
const USING = new Set(["Enter", " ", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp",
  "PageDown", "Home", "End", "Delete", "Backspace"]);

/** Disable the controls of a view-only page, and announce the reason when one is used. */
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
    if (event.type !== "wheel" && event.type !== "dblclick") announce(VIEW_ONLY_TEXT);
  }
  for (const type of ["pointerdown", "mousedown", "click", "dblclick", "keydown", "wheel"]) {
    addEventListener(type, refuse, { capture: true, passive: false });
  }
}

export function showLink(live) {
  const place = document.getElementById("link");
  const banner = document.getElementById("banner");

  lockControls(live);
  let wrote = null; // whether this page had full control during the last connection

  function draw() {
    const { state } = live;
    const open = state === "open";
    const write = open && live.hello.write;
    document.body.dataset.link = state;
    document.getElementById("desk").setAttribute("aria-busy", open ? "false" : "true");
    setText(place, open ? (write ? "Live" : "View only") : state === "lost" ? "Offline" : "Connecting");
    banner.hidden = write || state === "connecting";
    setText(banner, open ? VIEW_ONLY_TEXT : AWAY);
    if (!open || write === wrote) return;
    // Some screen readers ignore a live region that was hidden until now.
    if (!write) announce(VIEW_ONLY_TEXT);
    else if (wrote === false) announce("This page now has full control");
    wrote = write;
  }
  live.events.addEventListener("state", draw);
}
