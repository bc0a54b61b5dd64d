// Measurements of a page's layout: evaluated in the page, defines `measure`.

const measure = (() => {
  const CONTROLS = "button, select, input, summary, [role=slider], [role=listbox], [role=log][tabindex]";

  function seen(one) {
    if (!one.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return false;
    const box = one.getBoundingClientRect();
    return box.width > 0 && box.height > 0;
  }

  function controls(within = document) {
    return [...within.querySelectorAll(CONTROLS)].filter((one) => seen(one) && !one.closest(".sr"));
  }

  function name(one) {
    const box = one.getBoundingClientRect();
    const size = `${box.width.toFixed(0)}x${box.height.toFixed(0)} at ${box.x.toFixed(0)},${box.y.toFixed(0)}`;
    return `${one.getAttribute("aria-label") || one.textContent.trim() || one.id || one.className} (${size})`;
  }

  // The nearest ancestor that does not move when the page scrolls, or that scrolls by itself.
  function layer(one) {
    for (let at = one.parentElement; at; at = at.parentElement) {
      const { position, overflowY } = getComputedStyle(at);
      if (position === "fixed" || position === "sticky" || at.matches(".popover, dialog")) return at;
      if (overflowY === "auto" || overflowY === "scroll") return at;
    }
    return document.body;
  }

  // Overlapping controls: neither is in the other, and both scroll together.
  function overlaps() {
    const all = controls().map((one) => ({ one, box: one.getBoundingClientRect(), layer: layer(one) }));
    const found = [];
    for (let a = 0; a < all.length; a += 1) {
      for (let b = a + 1; b < all.length; b += 1) {
        const [first, second] = [all[a], all[b]];
        if (first.layer !== second.layer) continue;
        if (first.one.contains(second.one) || second.one.contains(first.one)) continue;
        const wide = Math.min(first.box.right, second.box.right) - Math.max(first.box.left, second.box.left);
        const high = Math.min(first.box.bottom, second.box.bottom) - Math.max(first.box.top, second.box.top);
        if (wide > 1 && high > 1) found.push(`${name(first.one)} and ${name(second.one)}`);
      }
    }
    return found;
  }

  // Why a control can't be clicked at its current position; empty if it can.
  function covered(one) {
    const box = one.getBoundingClientRect();
    if (box.left < -1 || box.right > innerWidth + 1 || box.top < -1 || (box.bottom > innerHeight + 1 && box.height < innerHeight / 2)) {
      return "outside";
    }
    if (getComputedStyle(one).pointerEvents === "none") return "";
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    const labelled = one.labels && [...one.labels].some((label) => label.contains(top));
    return top && (one.contains(top) || labelled) ? "" : `under ${top ? top.className || top.tagName : "nothing"}`;
  }

  // Controls that can't be scrolled into the window, or are covered there. Visible controls are not
  // scrolled, because each scroll causes a new layout of the page.
  function hidden() {
    const found = [];
    const at = [scrollX, scrollY];
    for (const one of controls().filter(covered)) {
      one.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
      const why = covered(one);
      if (why) found.push(`${why}: ${name(one)}`);
    }
    scrollTo(...at);
    return found;
  }

  function smallerThan(least, within = document) {
    return controls(within).filter((one) => {
      const box = one.getBoundingClientRect();
      return Math.min(box.width, box.height) < least - 0.01;
    }).map(name);
  }

  // Buttons with truncated text.
  function clipped() {
    return controls().filter((one) => one.matches("button, summary") && !one.matches(".fx-choose, .crumb")
      && one.scrollWidth > one.clientWidth + 1).map(name);
  }

  // The number of controls, the width of the page, and all faults of its layout; `least`: minimum
  // width and height of a control in CSS pixels.
  function layout(least) {
    const found = {
      "over each other": overlaps(), "out of reach": hidden(), "too small": smallerThan(least), "cut off": clipped(),
    };
    const faults = Object.fromEntries(Object.entries(found).filter(([, names]) => names.length));
    return { controls: controls().length, width: document.documentElement.scrollWidth, faults };
  }

  // After the window is resized, the layout is complete two frames later.
  function resized() {
    return new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); });
  }

  function outside(selector) {
    return [...document.querySelectorAll(selector)].filter(seen).filter((one) => {
      const box = one.getBoundingClientRect();
      return box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight;
    }).map(name);
  }

  // Contrast ------------------------------------------------------------------------------

  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });

  const known = new Map();

  function rgba(colour) {
    if (!known.has(colour)) {
      context.clearRect(0, 0, 1, 1);
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
      known.set(colour, [red, green, blue, alpha / 255]);
    }
    return known.get(colour);
  }

  function over(front, back) {
    const alpha = front[3];
    return [0, 1, 2].map((at) => front[at] * alpha + back[at] * (1 - alpha));
  }

  // The background of an element and its text colour, from its root down to it: `ground` is the
  // background where it has no text, and `before` the one outside. `layers` caches them for one
  // look.
  function layerOf(one, layers) {
    if (!layers.has(one)) {
      const before = one.parentElement ? layerOf(one.parentElement, layers).ground : [255, 255, 255];
      const { backgroundColor, color, opacity } = getComputedStyle(one);
      layers.set(one, { before, ground: over(rgba(backgroundColor), before), color, opacity: Number(opacity) });
    }
    return layers.get(one);
  }

  // [background of an element, its text over it]. The opacity of an ancestor fades all of its
  // contents: computed from the inside out.
  function painted(one, layers) {
    let { ground } = layerOf(one, layers);
    let text = over(rgba(layerOf(one, layers).color), ground);
    for (let at = one; at; at = at.parentElement) {
      const { opacity, before } = layerOf(at, layers);
      if (opacity < 1) {
        ground = over([...ground, opacity], before);
        text = over([...text, opacity], before);
      }
    }
    return [ground, text];
  }

  function luminance(colour) {
    const [red, green, blue] = colour.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function ratio(one, layers = new Map()) {
    const [ground, text] = painted(one, layers).map(luminance);
    return (Math.max(ground, text) + 0.05) / (Math.min(ground, text) + 0.05);
  }

  // Controls whose text (4.5:1) or icon (3:1) has too little contrast. Disabled ones are exempt.
  function faint(selector) {
    const found = [];
    const layers = new Map();
    let count = 0;
    for (const one of document.querySelectorAll(selector)) {
      if (!seen(one) || one.disabled || one.getAttribute("aria-disabled") === "true") continue;
      count += 1;
      const least = one.textContent.trim() ? 4.5 : 3;
      const contrast = ratio(one, layers);
      if (contrast < least) found.push(`${name(one)}: ${contrast.toFixed(2)}`);
    }
    return { count, found };
  }

  // Pointer and focus -----------------------------------------------------------------------

  const FORCED = ["hover", "active", "focus-visible", "focus"];

  // Make classes such as `force-hover` act like the pseudo-classes; they have the same specificity.
  function forceable() {
    const pattern = new RegExp(`:(${FORCED.join("|")})(?![\\w-])`, "g");
    const visit = (rules) => {
      for (const rule of rules) {
        if (rule.cssRules?.length) visit(rule.cssRules);
        const { selectorText } = rule;
        if (!selectorText || !selectorText.match(pattern)) continue;
        rule.selectorText = selectorText.replace(pattern, (found, name) => `:is(${found}, .force-${name})`);
      }
    };
    for (const sheet of [...document.styleSheets, ...document.adoptedStyleSheets]) visit(sheet.cssRules);
  }

  function force(selector, states) {
    for (const one of document.querySelectorAll(selector)) {
      for (const state of FORCED) one.classList.toggle(`force-${state}`, states.includes(state));
    }
  }

  // Switch everything on that can be; the returned function undoes it.
  function turnOn() {
    const undo = [];
    const change = (selector, turned, back) => {
      for (const one of document.querySelectorAll(selector)) {
        const before = turned(one);
        undo.push(() => back(one, before));
      }
    };
    const press = (one) => {
      const before = one.getAttribute("aria-pressed");
      one.setAttribute("aria-pressed", "true");
      return before;
    };
    const release = (one, before) => {
      if (before === null) one.removeAttribute("aria-pressed");
      else one.setAttribute("aria-pressed", before);
    };
    change(".toggle, .dj-orders button", press, release);
    for (const [selector, name] of [[".play", "running"], [".pad", "set"], ["[data-action=loop-in]", "armed"]]) {
      const add = (one) => {
        const before = one.classList.contains(name);
        one.classList.add(name);
        return before;
      };
      change(selector, add, (one, before) => one.classList.toggle(name, before));
    }
    const enable = (one) => {
      const before = one.disabled;
      one.disabled = false;
      return before;
    };
    change(".button, select", enable, (one, before) => { one.disabled = before; });
    return () => undo.forEach((step) => step());
  }

  // Insufficient contrast in any pointer state, by state; `on`: with everything switched on.
  // All in one task, during which the page shows nothing of it; it is restored afterwards.
  function faintWhile(selector, pointers, on) {
    const found = {};
    let count = 0;
    const undo = on ? turnOn() : () => {};
    for (const [name, states] of Object.entries(pointers)) {
      force(selector, states);
      const got = faint(selector);
      count += got.count;
      if (got.found.length) found[`${on ? "on" : "off"}, ${name}`] = got.found;
    }
    force(selector, []);
    undo();
    return { count, found };
  }

  // Both with everything on and everything off.
  function faintInAll(selector, pointers) {
    const [off, on] = [false, true].map((state) => faintWhile(selector, pointers, state));
    return { count: off.count + on.count, found: { ...off.found, ...on.found } };
  }

  return {
    clipped, controls, faint, faintInAll, faintWhile, forceable, hidden, layout, name, outside, overlaps, ratio, resized, smallerThan,
  };
})();
globalThis.measure = measure;
