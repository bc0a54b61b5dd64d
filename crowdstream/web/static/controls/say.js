// What happens is said: to screen readers in a quiet voice, and for all to see for a few seconds.

import { h } from "./dom.js";

const SHOWN_MS = 6000;
const MAX_TOASTS = 4; // at a time
const AGAIN_MS = 1500; // the same text is not said twice within this

let latest = "";
let latestAt = -Infinity;

/** Say one thing. `kind`: "" or "bad". */
export function say(text, kind = "") {
  const now = performance.now();
  if (text === latest && now - latestAt < AGAIN_MS) return;
  latest = text;
  latestAt = now;
  const spoken = document.getElementById("spoken");
  const shown = document.getElementById("notes");
  if (!spoken || !shown) return; // a part of the page by itself
  spoken.textContent = text;
  const note = h("p", { class: `note ${kind}` }, text);
  shown.append(note);
  while (shown.children.length > MAX_TOASTS) shown.firstChild.remove();
  setTimeout(() => note.remove(), SHOWN_MS);
}
