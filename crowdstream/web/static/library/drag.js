// Drag a track onto a deck: with pointer events, so that it also works by touch.
//
// With a mouse, dragging starts as soon as the pointer moves. A touch must be held first, since an
// immediate movement scrolls the list.

import { h, setText } from "../controls/dom.js";
import { Hold } from "../controls/guard.js";

const FAR = 6; // pixels
const HOLD_MS = 350;

/** options: pick(target) -> entry or null, name(entry), drop(entry, letter); stops(letter) -> the
 * deck that would stop: the track must be held over it; refuse(letter) if it was not held. */
export function makeDraggable(element, options) {
  let begun = null;
  const hold = new Hold((share) => {
    if (begun && begun.ghost) begun.ghost.style.setProperty("--held", (share ?? 0).toFixed(3));
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
    if (begun && begun.ghost) move(event.clientX, event.clientY);
  });
  addEventListener("pointerup", (event) => {
    if (!begun || event.pointerId !== begun.id) return;
    if (begun.ghost) over(deckAt(event.clientX, event.clientY));
    const { entry, letter, held } = begun;
    cancel();
    if (!letter) return;
    if (held || !options.stops(letter)) options.drop(entry, letter);
    else options.refuse(letter);
  });
  addEventListener("pointercancel", cancel);
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !begun) return;
    if (begun.ghost) event.preventDefault(); // the panel stays open
    cancel();
  });
  // A finger that drags a track must not scroll.
  element.addEventListener("touchmove", (event) => {
    if (begun && begun.ghost) event.preventDefault();
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
    over(deckAt(x, y));
  }

  // A playing deck is only replaced by a track that was held over it, not by one in passing.
  function over(letter) {
    if (letter === begun.letter) return;
    begun.letter = letter;
    begun.held = false;
    hold.cancel();
    const stopped = letter ? options.stops(letter) : "";
    setText(begun.note, stopped ? `hold here: stops ${stopped}` : "");
    mark(letter, Boolean(stopped));
    if (!stopped) return;
    hold.begin(() => {
      begun.held = true;
      begun.ghost.style.setProperty("--held", "1");
      setText(begun.note, `release: stops ${stopped}`);
      mark(letter);
    });
  }

  function cancel() {
    if (!begun) return;
    clearTimeout(begun.timer);
    hold.cancel();
    if (begun.ghost) begun.ghost.remove();
    begun = null;
    document.body.classList.remove("dragging");
    mark(null);
  }
}

// The letter of the deck at a point of the screen, or of an element that represents a deck.
function deckAt(x, y) {
  const target = document.elementFromPoint(x, y);
  const deck = target && target.closest("[data-deck]");
  return deck ? deck.dataset.deck : null;
}

function mark(letter, locked = false) {
  for (const one of document.querySelectorAll("[data-deck]")) {
    const here = one.dataset.deck === letter;
    one.classList.toggle("dropping", here);
    one.classList.toggle("drop-locked", here && locked);
  }
}
