// Loops and beat jumps.

import { h, select, setAttribute, setText } from "../controls/dom.js";
import { button, toggle } from "../controls/button.js";
import { beatsText } from "../controls/values.js";

const LOOPS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32, 64];
const JUMPS = [1, 2, 4, 8, 16, 32, 64];

export function loops(deck) {
  let size = 4; // beats of the next loop
  const word = h("span", {}, "4");
  const loop = toggle("icon:loop", deck.name("loop"), () => loopOrLeave(), {
    class: "loop", "data-action": "loop",
  });
  loop.append(word);
  const less = button("½", deck.name("loop halve"), () => resize(-1), {
    "data-action": "loop-halve",
  });
  const more = button("×2", deck.name("loop double"), () => resize(1), {
    "data-action": "loop-double",
  });
  const loopIn = button("IN", deck.name("loop in"), () => deck.order("/loop/in", snap()), {
    "data-action": "loop-in",
  });
  const loopOut = button("OUT", deck.name("loop out"), () => deck.order("/loop/out", snap()), {
    "data-action": "loop-out",
  });
  const again = button("RE", deck.name("reloop"), () => deck.order("/loop/reloop"), {
    "data-action": "loop-again",
  });
  const jumpSize = select(deck.name("beat jump size"), JUMPS.map((n) => [n, `${n}`]), () => {}, {
    class: "jump-size",
  });
  jumpSize.value = "4";
  const back = button("icon:left", deck.name("beat jump back"), () => jump(-1), {
    "data-action": "jump-back",
  });
  const ahead = button("icon:right", deck.name("beat jump forward"), () => jump(1), {
    "data-action": "jump-ahead",
  });

  // With a beat grid, loop points set by hand are quantized.
  function snap() {
    return deck.state.bpm ? deck.state.quantize || 0 : 0;
  }
  function loopOrLeave() {
    if (deck.state.loop) deck.order("/loop/exit");
    else deck.order("/loop", size, deck.state.quantize || 0);
  }
  function resize(step) {
    if (deck.state.loop) deck.order(step < 0 ? "/loop/halve" : "/loop/double");
    else {
      size = LOOPS[Math.max(0, Math.min(LOOPS.length - 1, LOOPS.indexOf(size) + step))];
      draw();
    }
  }
  function jump(way) {
    const beats = way * Number(jumpSize.value);
    if (deck.state.loop) deck.order("/loop/move", beats);
    else deck.order("/jump", beats);
  }
  function draw() {
    const { state, bpm, loop: looped, loop_beats: beats, loop_left: left } = deck.state;
    loop.set(Boolean(looped));
    const length = looped && beats ? beats : size;
    setText(word, looped && !beats ? "on" : beatsText(length));
    setAttribute(loop, "aria-label", deck.name(`loop of ${beatsText(length)} beats`));
    const loaded = state === "ready" || state === "playing" || state === "broken";
    for (const one of [loopIn, loopOut]) one.disabled = !loaded;
    again.disabled = !loaded || !left;
    loopIn.classList.toggle("armed", deck.state.loop_in !== null && deck.state.loop_in !== undefined);
    loop.disabled = !loaded || (!bpm && !looped);
    for (const one of [back, ahead]) one.disabled = !loaded || !bpm;
    less.disabled = !loaded;
    more.disabled = !loaded;
  }
  deck.on(draw);
  draw();
  deck.loopOrLeave = loopOrLeave;
  deck.resizeLoop = resize;
  deck.jump = jump;
  return h(
    "div",
    { class: "deck-loops" },
    h("div", { class: "group", role: "group", "aria-label": deck.name("loop") },
      loopIn, loopOut, less, loop, more, again),
    h("div", { class: "group", role: "group", "aria-label": deck.name("beat jump") },
      back, jumpSize, ahead),
  );
}
