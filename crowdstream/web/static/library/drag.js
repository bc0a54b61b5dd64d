// Drag a track onto a deck or a sample pad: with pointer events, so that it also works by touch.
// The pads are behind a tab of the dock, which opens when the track is held over it.
//
// With a mouse, dragging starts as soon as the pointer moves. A touch must be held first, since an
// immediate movement scrolls the list.

import { h, setText } from "../controls/dom.js";
import { Hold } from "../controls/guard.js";

const FAR = 6; // pixels
const HOLD_MS = 350;
const PLACES = "[data-deck], [data-pad]";

/** A place is the letter of a deck or the number of a pad. options: pick(target) -> entry or null,
 * name(entry), drop(entry, place); stops(place) -> what would stop: the track must be held over it;
 * refuse(place) if it was not held. */
export function makeDraggable(element, options) {
  let begun = null;
  const hold = new Hold((share) => {
    if (begun?.ghost) begun.ghost.style.setProperty("--held", (share ?? 0).toFixed(3));
  });

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const entry = options.pick(event.target);
    if (!entry) return;
    begun = { entry, x: event.clientX, y: event.clientY, id: event.pointerId, ghost: null };
    if (event.pointerType !== "mouse") begun.timer = setTimeout(() => begin(), HOLD_MS);
  });
  addEventListener("pointermove", (event) => {
    if (!begun || event.pointerId !== begun.id) return;
    const far = Math.hypot(event.clientX - begun.x, event.clientY - begun.y) > FAR;
    if (!begun.ghost && far) {
      if (event.pointerType === "mouse") begin();
      else cancel();
    }
    if (begun?.ghost) move(event.clientX, event.clientY);
  });
  addEventListener("pointerup", (event) => {
    if (!begun || event.pointerId !== begun.id) return;
    if (begun.ghost) over(placeAt(event.clientX, event.clientY));
    const { entry, place, held } = begun;
    cancel();
    if (!place) return;
    if (held || !options.stops(place)) options.drop(entry, place);
    else options.refuse(place);
  });
  addEventListener("pointercancel", cancel);
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !begun) return;
    if (begun.ghost) event.preventDefault(); // the panel stays open
    cancel();
  });
  // A finger that drags a track must not scroll.
  element.addEventListener("touchmove", (event) => {
    if (begun?.ghost) event.preventDefault();
  }, { passive: false });
  element.addEventListener("contextmenu", (event) => {
    if (begun) event.preventDefault();
  });

  function begin() {
    begun.note = h("span", { class: "ghost-note" });
    begun.ghost = h("div", { class: "ghost" }, options.name(begun.entry), begun.note);
    document.body.append(begun.ghost);
    document.body.classList.add("dragging");
    move(begun.x, begun.y);
  }

  function move(x, y) {
    begun.ghost.style.setProperty("transform", `translate(${x + 10}px, ${y + 10}px)`);
    over(placeAt(x, y));
    overTab(tabAt(x, y));
  }

  function overTab(tab) {
    if (tab === begun.tab) return;
    begun.tab = tab;
    clearTimeout(begun.spring);
    if (tab) begun.spring = setTimeout(() => tab.click(), HOLD_MS);
  }

  // What plays is only replaced by a track that was held over it, not by one in passing.
  function over(place) {
    if (place === begun.place) return;
    begun.place = place;
    begun.held = false;
    hold.cancel();
    const stopped = place ? options.stops(place) : "";
    setText(begun.note, stopped ? `hold here: stops ${stopped}` : "");
    mark(place, Boolean(stopped));
    if (!stopped) return;
    hold.begin(() => {
      begun.held = true;
      begun.ghost.style.setProperty("--held", "1");
      setText(begun.note, `release: stops ${stopped}`);
      mark(place);
    });
  }

  function cancel() {
    if (!begun) return;
    clearTimeout(begun.timer);
    clearTimeout(begun.spring);
    hold.cancel();
    if (begun.ghost) begun.ghost.remove();
    begun = null;
    document.body.classList.remove("dragging");
    mark(null);
  }
}

// The deck or pad at a point of the screen, or at an element that represents it.
function placeAt(x, y) {
  const target = document.elementFromPoint(x, y);
  return placeOf(target?.closest(PLACES));
}

function placeOf(element) {
  return element ? element.dataset.deck || Number(element.dataset.pad) : null;
}

function tabAt(x, y) {
  const target = document.elementFromPoint(x, y);
  return target?.closest("#dock [data-tab=pads]");
}

function mark(place, locked = false) {
  for (const one of document.querySelectorAll(PLACES)) {
    const here = place !== null && placeOf(one) === place;
    one.classList.toggle("dropping", here);
    one.classList.toggle("drop-locked", here && locked);
  }
}
