// The automatic DJ: current track, next track with the reasons, session, and controls for people.

import { h, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { guard } from "../controls/guard.js";
import { makeProgress } from "../library/analyse.js";
import { stopsDeck, stopsDecks } from "../decks/playing.js";

const TRACK = ["Deck", "Tempo and key", "Reason"];
const ENERGIES = [["auto", "Energy: as planned"], ["0.2", "Low"], ["0.5", "Medium"], ["0.8", "High"], ["1", "Maximum"]];
const GIVE = "Return to DJ: release manual control";
const AWAY = "No DJ is running. Start the server with --dj FOLDER, or run crowdstream dj beside it.";

export function makeDj(live) {
  const note = h("p", { class: "dj-note", role: "status" });
  const now = card("Now playing", TRACK);
  const next = card("Up next", [...TRACK, "Transition"]);
  const session = card("Session", ["Requests", "Planned", "Played", "Crowd", "Manual control"]);
  const order = (name, label, title) => button(label, title, () => live.order(`/dj/${name}`),
    { "data-action": `dj-${name}` });
  let held = false;
  const hold = button("Hold", "Hold: stay on the current track", () =>
    live.order("/dj/hold", held ? 0 : 1), { "data-action": "dj-hold", "aria-pressed": "false" });
  const give = button("Return to DJ", GIVE, null, { "data-action": "dj-give" });
  const giveStops = h("span", { class: "stops" });
  give.append(giveStops);
  // The DJ stops decks that a person plays besides the DJ's own track.
  const taken = () => {
    const { persons = [], now: playing } = live.get("dj") || {};
    return persons.filter((one) => one.length === 1 && one !== (playing || {}).deck);
  };
  const giveGuard = guard(give, {
    label: () => GIVE, stops: () => stopsDecks(live, taken()), act: () => live.order("/dj/release", "all"),
  });
  function drawGive() {
    const { persons } = live.get("dj") || {};
    give.disabled = !(persons || []).length;
    const stopped = taken().filter((letter) => stopsDeck(live, letter));
    setText(giveStops, stopped.length ? `stops ${stopped.join(", ")}` : "");
    giveGuard.refresh();
  }
  for (const letter of "ABCD") live.on(`deck.${letter}`, drawGive);
  const energy = h("select", { "aria-label": "Energy of the next tracks", "data-action": "dj-energy" },
    ...ENERGIES.map(([value, label]) => h("option", { value }, label)));
  energy.addEventListener("change", () =>
    live.order("/dj/energy", energy.value === "auto" ? "auto" : Number(energy.value)));
  const orders = h("div", { class: "dj-orders" },
    order("next", "Next", "Start the transition to the next track at the next phrase"),
    order("skip", "Skip", "Skip the next track: choose another one"),
    order("ban", "Ban", "Ban the current track: move on, and never play it again"),
    hold, give, energy);
  const element = h("div", { class: "dj" },
    h("section", { class: "card dj-head" }, note, orders), now.element, next.element, session.element,
    makeProgress(live));

  live.on("dj", (state = {}) => {
    const there = Boolean(state.there);
    element.classList.toggle("away", !there);
    setText(note, there ? state.note || "" : AWAY);
    held = Boolean(state.hold);
    hold.setAttribute("aria-pressed", held ? "true" : "false");
    drawGive();
    energy.value = nearest(state.energy);
    const coming = state.next || {};
    now.draw(state.now);
    next.draw(state.next, coming.kind ? `${coming.kind}${bars(coming.bars)}: ${coming.how || coming.stage}` : "");
    session.list([
      state.queue, state.plan, [...(state.history || [])].reverse().slice(1),
      [there ? `${Math.round(100 * (state.movement || 0))} % moving${state.crowd ? ", crowd leads" : ""}` : ""],
      state.persons,
    ]);
  });
  return { element };
}

function bars(count) {
  return count ? ` over ${count} bars` : "";
}

function nearest(energy) {
  if (typeof energy !== "number") return "auto";
  const values = ENERGIES.slice(1).map(([value]) => value);
  return values.reduce((best, one) => (Math.abs(one - energy) < Math.abs(best - energy) ? one : best));
}

function card(title, names) {
  const name = h("strong", { class: "dj-name" });
  const values = names.map(() => h("dd"));
  const list = h("dl", {}, ...names.flatMap((each, at) => [h("dt", {}, each), values[at]]));
  const element = h("section", { class: "card" }, h("h3", {}, title), name, list);
  const fill = (texts) => values.forEach((value, at) => setText(value, texts[at] || "–"));
  return {
    element,
    draw(track, ...more) {
      const one = track || {};
      setText(name, one.name || "–");
      fill([one.deck, one.bpm ? `${one.bpm}${one.uncertain ? "?" : ""} ${one.key || ""}`.trim() : "", one.why, ...more]);
    },
    list(lists) {
      name.hidden = true;
      fill(lists.map((each) => (each || []).join(", ")));
    },
  };
}
