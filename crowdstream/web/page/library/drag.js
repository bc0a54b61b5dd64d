// Dragging a track onto a deck: with pointer events, so that it works by touch, too.
//
// With a mouse it begins as soon as the pointer has moved; by touch after a moment of holding, as
// a move is a scroll until then.

import { h } from "../controls/dom.js";

const FAR = 6; // pixels
const HOLD_MS = 350;

/** options: pick(target) -> entry or null, name(entry), drop(entry, letter). */
export function makeDraggable(element, options) {
  let begun = null;

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
    const { entry, ghost } = begun;
    const letter = ghost ? deckAt(event.clientX, event.clientY) : null;
    cancel();
    if (letter) options.drop(entry, letter);
  });
  addEventListener("pointercancel", cancel);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") cancel();
  });
  // While a finger drags a track, it does not scroll.
  element.addEventListener("touchmove", (event) => {
    if (begun && begun.ghost) event.preventDefault();
  }, { passive: false });
  element.addEventListener("contextmenu", (event) => {
    if (begun) event.preventDefault();
  });

  function begin() {
    begun.ghost = h("div", { class: "ghost" }, options.name(begun.entry));
    document.body.append(begun.ghost);
    document.body.classList.add("dragging");
    move(begun.x, begun.y);
  }

  function move(x, y) {
    begun.ghost.style.setProperty("transform", `translate(${x + 10}px, ${y + 10}px)`);
    mark(deckAt(x, y));
  }

  function cancel() {
    if (!begun) return;
    clearTimeout(begun.timer);
    if (begun.ghost) begun.ghost.remove();
    begun = null;
    document.body.classList.remove("dragging");
    mark(null);
  }
}

// The letter of the deck at a place of the screen: of the deck, or of what stands for it.
function deckAt(x, y) {
  const target = document.elementFromPoint(x, y);
  const deck = target && target.closest("[data-deck]");
  return deck ? deck.dataset.deck : null;
}

function mark(letter) {
  for (const one of document.querySelectorAll("[data-deck]")) {
    one.classList.toggle("dropping", one.dataset.deck === letter);
  }
}
