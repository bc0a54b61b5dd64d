// The live inputs, the send buses and the master: FX and routing.

import { h } from "../controls/dom.js";
import { knob } from "../controls/knob.js";
import { toggle } from "../controls/button.js";
import { dbText, fader } from "../controls/values.js";
import { argument } from "../table.js";
import { chain } from "../decks/chain.js";

const PATCHES = {
  1: [["bus1", "master", 1], ["bus1", "bus2", 0]],
  2: [["bus2", "master", 1], ["bus2", "bus1", 0]],
};

export function makeBuses(live) {
  const buses = [1, 2].map((bus) => busCard(live, bus));
  const main = h(
    "section", { class: "bus", "aria-labelledby": "bus-master" },
    h("h3", { id: "bus-master" }, "Master FX"),
    chain(live, { base: "/mix", name: "Master effects", key: "mixer", pick: (mixer) => mixer.fx }),
  );
  const optional = ["inputs", "rooms", "lights", "midi"].map((key) => makeOptional(live, key));
  return h("div", {}, ...optional, h("div", { class: "buses" }, ...buses, main));
}

// Cards that few machines need: the code is loaded with the first one.
function makeOptional(live, key) {
  const element = h("div", { class: `buses ${key}` });
  element.hidden = true;
  const cards = [];
  live.on(key, async ({ length }) => {
    element.hidden = !length;
    if (!length) return;
    const { makeCard } = await import(`../${key}/${key}.js`);
    const shown = live.get(key); // while the code was loaded, the state may have changed twice
    while (cards.length < shown.length) {
      const card = makeCard(live, cards.length + 1);
      cards.push(card);
      element.append(card.root);
    }
    while (cards.length > shown.length) cards.pop().root.remove();
    shown.forEach((one, at) => cards[at].set(one));
  });
  return element;
}

function busCard(live, bus) {
  const high = argument("/mix/route", "gain").high;
  const gains = PATCHES[bus].map(([source, destination, initial]) => {
    const dial = knob({
      label: `${source} to ${destination}`, name: destination === "master" ? "TO MASTER" : `TO ${destination.toUpperCase()}`,
      initial, law: fader(high), text: dbText, class: "small",
      send: (value) => live.order("/mix/route", source, destination, value),
    });
    return { dial, source, destination };
  });
  live.on("patches", (patches) => {
    for (const { dial, source, destination } of gains) {
      const found = patches.find((one) => one.source === source && one.destination === destination);
      dial.set(found ? found.gain : 0);
    }
  });
  const before = [..."ABCD"].map((letter) => {
    const one = toggle(letter, `Deck ${letter}: pre-fader send to bus ${bus}`, (on) =>
      live.order(`/deck/${letter}/send/pre`, bus, on ? 1 : 0), { class: `pre deck-${letter}` });
    live.on(`deck.${letter}`, (state) => one.set(Boolean(state.send_pre && state.send_pre[bus - 1])));
    return one;
  });
  return h(
    "section", { class: "bus", "aria-labelledby": `bus-${bus}` },
    h("h3", { id: `bus-${bus}` }, `Send bus ${bus}`),
    chain(live, {
      base: `/bus/${bus}`, name: `Bus ${bus} effects`, key: "buses",
      pick: (buses) => (buses.find((one) => one.bus === bus) || {}).fx,
    }),
    h("div", { class: "bus-ways" }, ...gains.map(({ dial }) => dial.root),
      h("div", { class: "pre-group", role: "group", "aria-label": `Pre-fader sends to bus ${bus}` },
        h("span", { class: "knob-name" }, "PRE"), ...before)),
  );
}
