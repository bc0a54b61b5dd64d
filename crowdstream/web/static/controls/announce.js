// Notifications: for screen readers as polite announcements, and visible for a few seconds.

import { h } from "./dom.js";

const SHOWN_MS = 6000;
const MAX_TOASTS = 4; // at once
const AGAIN_MS = 1500; // the same text is not repeated within this time

let latest = "";
let latestAt = -Infinity;

/** Announce a text. `kind`: "" or "bad". */
export function announce(text, kind = "") {
  const now = performance.now();
  if (text === latest && now - latestAt < AGAIN_MS) return;
  latest = text;
  latestAt = now;
  const spoken = document.getElementById("spoken");
  const shown = document.getElementById("notes");
  if (!spoken || !shown) return; // a test page with only a part of this page
  spoken.textContent = text;
  const note = h("p", { class: `note ${kind}` }, text);
  shown.append(note);
  while (shown.children.length > MAX_TOASTS) shown.firstChild.remove();
  setTimeout(() => note.remove(), SHOWN_MS);
}
