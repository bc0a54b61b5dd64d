// An FX chain: its slots, and the parameters of the selected effect.

import { h, select, setAttribute, setText } from "../controls/dom.js";
import { button, toggle } from "../controls/button.js";
import { knob } from "../controls/knob.js";
import { fitting, linear, percentText, unitText } from "../controls/values.js";
import { argument } from "../table.js";

const OWN = new Set(["mix", "on"]); // parameters with their own controls

/** `options`: base of the addresses ("/deck/A"), name, key of the picture, pick(value) -> slots. */
export function chain(live, { base, name, key, pick }) {
  const slots = argument("/mix/fx/insert", "slot").high;
  let chosen = 1;
  let fx = [];
  let shown = "";
  let knobs = new Map();
  const order = (path, ...args) => live.order(`${base}/fx/${path}`, ...args);
  const chips = Array.from({ length: slots }, (_, at) => chip(at + 1));
  const detail = h("div", { class: "fx-detail" });
  const element = h(
    "div", { class: "fx", role: "group", "aria-label": name },
    h("div", { class: "fx-chips" }, ...chips.map((one) => one.element)), detail,
  );

  function chip(slot) {
    const power = toggle("icon:power", `${name}: slot ${slot} on`, (on) => order("on", slot, on ? 1 : 0), {
      class: "fx-power", "data-action": `fx-on-${slot}`,
    });
    const choose = button("", `${name}: slot ${slot}`, () => {
      chosen = slot;
      draw();
    }, { class: "fx-choose", "data-action": `fx-slot-${slot}`, "aria-pressed": "false" });
    return { power, choose, element: h("div", { class: "fx-chip" }, power, choose) };
  }

  function draw() {
    chips.forEach(({ power, choose, element: one }, at) => {
      const effect = inSlot(at + 1);
      setText(choose, effect ? effect.name : "+");
      const what = effect ? effect.name : "empty, select to add an effect";
      setAttribute(choose, "aria-label", `${name}: slot ${at + 1}, ${what}`);
      setAttribute(choose, "title", `Slot ${at + 1}: ${what}`);
      choose.setAttribute("aria-pressed", chosen === at + 1 ? "true" : "false");
      power.set(Boolean(effect?.on));
      power.disabled = !effect;
      one.classList.toggle("chosen", chosen === at + 1);
      one.classList.toggle("filled", Boolean(effect));
    });
    const effect = inSlot(chosen);
    const what = `${chosen} ${effect ? effect.name : ""} ${modules().length}`;
    if (what !== shown) {
      shown = what;
      knobs = new Map();
      detail.replaceChildren(...(effect ? controls(effect) : offers()));
    }
    if (!effect) return;
    knobs.get("mix").set(effect.mix);
    for (const [parameter, value] of Object.entries(effect.values || {})) {
      if (knobs.has(parameter)) knobs.get(parameter).set(value);
    }
  }

  function inSlot(slot) {
    return fx.find((one) => one?.slot === slot) || null;
  }

  function modules() {
    return live.get("effects") || [];
  }

  function offers() {
    const buttons = modules().map((module) =>
      button(module.name, `${name}: add ${module.name}`, () => order("insert", chosen, module.name), {
        class: "fx-offer", title: module.help, "data-action": `fx-add-${module.name}`,
      }));
    return [h("div", { class: "fx-offers", role: "group", "aria-label": `${name}: add` }, ...buttons)];
  }

  function controls(effect) {
    const slot = chosen;
    const module = modules().find((one) => one.name === effect.name);
    const mix = knob({
      label: `${name}: ${effect.name} mix`, name: "MIX", class: "accent", law: linear(0, 1),
      initial: module ? module.mix : 1, text: percentText,
      send: (value) => order("mix", slot, value),
    });
    knobs.set("mix", mix);
    const cells = [mix.root];
    for (const one of module ? module.parameters.filter(({ name: n }) => !OWN.has(n)) : []) {
      const dial = knob({
        label: `${name}: ${effect.name} ${one.name}`, name: one.name.toUpperCase(),
        law: fitting(one.low, one.high, one.whole), initial: one.default,
        step: one.whole ? 1 : undefined, text: (value) => unitText(value, one.unit),
        send: (value) => order("set", slot, one.name, value),
      });
      knobs.set(one.name, dial);
      cells.push(dial.root);
    }
    const swap = select(
      `${name}: replace the effect in slot ${slot}`,
      [["", "Swap…"], ...modules().map((one) => [one.name, one.name])],
      (word) => {
        if (word) order("swap", slot, word);
        swap.value = "";
      });
    const move = (way, face, text) => {
      const to = slot + way;
      const one = button(face, `${name}: move ${effect.name} ${text}`, () => {
        order("move", slot, to);
        chosen = to;
        draw();
      }, { class: "quiet", "data-action": `fx-${text}` });
      one.disabled = to < 1 || to > slots;
      return one;
    };
    const remove = button("icon:close", `${name}: remove ${effect.name}`, () => order("remove", slot), {
      class: "quiet", "data-action": "fx-remove",
    });
    return [
      h("div", { class: "fx-knobs" }, ...cells),
      h("div", { class: "fx-tools" }, move(-1, "icon:left", "left"), move(1, "icon:right", "right"),
        swap, remove),
    ];
  }

  live.on(key, (value) => {
    fx = pick(value) || [];
    draw();
  });
  live.on("effects", draw);
  draw();
  return element;
}
