// The automatic DJ: what plays, what comes and why, and what a person can tell it.

import { h, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";

export function makeDj(live) {
  const note = h("p", { class: "hint", role: "status" });
  const now = card("Plays", ["Track", "Deck", "Tempo and key", "Why"]);
  const next = card("Comes next", ["Track", "Deck", "Tempo and key", "Why", "How"]);
  const queue = card("Wishes and past", ["Queue", "Played", "In your hands", "Crowd", "Energy"]);
  const hold = button("Hold", "Stay in the track that plays", () =>
    live.order("/dj/hold", held ? 0 : 1), { "data-action": "dj-hold" });
  const give = button("Give back", "Give the DJ back all that you have touched", () =>
    live.order("/dj/give", "all"), { "data-action": "dj-give" });
  const orders = h("div", { class: "buffer-size" },
    button("Next", "Go into the next track with the next phrase", () => live.order("/dj/next"),
      { "data-action": "dj-next" }),
    button("Skip", "Leave out the track that would come next", () => live.order("/dj/skip"),
      { "data-action": "dj-skip" }),
    hold, give);
  const element = h("div", { class: "health dj" },
    h("section", { class: "card" }, h("h3", {}, "DJ"), note, orders), now.element, next.element,
    queue.element);
  let held = false;

  live.on("dj", (state) => {
    const there = Boolean(state && state.there);
    setText(note, there ? state.note || "" : "No DJ is there: start the server with --dj and a folder.");
    orders.hidden = !there;
    held = Boolean(state && state.hold);
    hold.setAttribute("aria-pressed", held ? "true" : "false");
    const persons = (state && state.persons) || [];
    give.disabled = persons.length === 0;
    const playing = (state && state.now) || {};
    const coming = (state && state.next) || {};
    now.draw([playing.name, playing.deck, tempo(playing), playing.why]);
    const kind = coming.kind ? `${coming.kind}, ${coming.bars} bars. ${coming.how || ""}` : "";
    next.draw([coming.name, coming.deck, tempo(coming), coming.why, kind]);
    queue.draw([
      ((state && state.queue) || []).join(", "),
      ((state && state.history) || []).slice(0, -1).reverse().join(", "),
      persons.join(", "),
      there ? `${Math.round(100 * (state.movement || 0))} %${state.crowd ? ", leads" : ""}` : "",
      there ? (state.energy === null ? "as planned" : `${Math.round(100 * state.energy)} %`) : "",
    ]);
  });
  return { element };
}

function tempo(track) {
  return track.bpm ? `${track.bpm} ${track.key || ""}`.trim() : "";
}

function card(title, names) {
  const values = names.map(() => h("dd"));
  const list = h("dl", {}, ...names.flatMap((name, at) => [h("dt", {}, name), values[at]]));
  const element = h("section", { class: "card" }, h("h3", {}, title), list);
  function draw(texts) {
    texts.forEach((text, at) => setText(values[at], text || "–"));
  }
  return { element, draw };
}
