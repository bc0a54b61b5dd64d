// What a page's layout is measured with: evaluated in the page, defines `measure`.

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

  // The nearest ancestor that stands still while the page scrolls, or that scrolls by itself.
  function layer(one) {
    for (let at = one.parentElement; at; at = at.parentElement) {
      const { position, overflowY } = getComputedStyle(at);
      if (position === "fixed" || position === "sticky" || at.matches(".popover, dialog")) return at;
      if (overflowY === "auto" || overflowY === "scroll") return at;
    }
    return document.body;
  }

  // Controls that lie over each other: neither is in the other, and both scroll together.
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

  // Controls that can't be brought into the window, or lie under something there.
  function hidden() {
    const found = [];
    const at = [scrollX, scrollY];
    for (const one of controls()) {
      one.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
      const box = one.getBoundingClientRect();
      if (box.left < -1 || box.right > innerWidth + 1 || box.top < -1 || (box.bottom > innerHeight + 1 && box.height < innerHeight / 2)) {
        found.push(`outside: ${name(one)}`);
        continue;
      }
      const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      const labelled = one.labels && [...one.labels].some((label) => label.contains(top));
      if (getComputedStyle(one).pointerEvents === "none") continue;
      if (!top || !(one.contains(top) || labelled)) {
        found.push(`under ${top ? top.className || top.tagName : "nothing"}: ${name(one)}`);
      }
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

  // Buttons whose text is cut off.
  function clipped() {
    return controls().filter((one) => one.matches("button, summary") && !one.matches(".fx-choose, .crumb")
      && one.scrollWidth > one.clientWidth + 1).map(name);
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

  function rgba(colour) {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  }

  function over(front, back) {
    const alpha = front[3];
    return [0, 1, 2].map((at) => front[at] * alpha + back[at] * (1 - alpha));
  }

  // Paint an element's ancestors over each other: [what it stands on, its text over that].
  function painted(one) {
    const chain = [];
    for (let at = one; at; at = at.parentElement) chain.unshift(at);
    let ground = [255, 255, 255];
    let text = null;
    for (const [index, at] of chain.entries()) {
      const style = getComputedStyle(at);
      const before = ground;
      let group = over(rgba(style.backgroundColor), ground);
      if (index === chain.length - 1) text = over(rgba(style.color), group);
      const opacity = Number(style.opacity);
      // Opacity of an ancestor fades all that is in it: approached from the inside out below.
      at.dataset.opacity = String(opacity);
      ground = group;
      at.before_ = before;
    }
    for (const at of chain.reverse()) {
      const opacity = Number(at.dataset.opacity);
      delete at.dataset.opacity;
      if (opacity < 1) {
        ground = over([...ground, opacity], at.before_);
        text = over([...text, opacity], at.before_);
      }
      delete at.before_;
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

  function ratio(one) {
    const [ground, text] = painted(one).map(luminance);
    return (Math.max(ground, text) + 0.05) / (Math.min(ground, text) + 0.05);
  }

  // Controls whose text (4.5:1) or icon (3:1) does not stand out. Disabled ones need not.
  function faint(selector) {
    const found = [];
    let count = 0;
    for (const one of document.querySelectorAll(selector)) {
      if (!seen(one) || one.disabled || one.getAttribute("aria-disabled") === "true") continue;
      count += 1;
      const least = one.textContent.trim() ? 4.5 : 3;
      const contrast = ratio(one);
      if (contrast < least) found.push(`${name(one)}: ${contrast.toFixed(2)}`);
    }
    return { count, found };
  }

  // Pointer and focus -----------------------------------------------------------------------

  const FORCED = ["hover", "active", "focus-visible", "focus"];

  // Let classes `force-hover` and the like do what the pseudo-classes do; they weigh as much.
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

  // All that can be on is on, in this one step of the page: the server's next picture undoes it.
  function turnOn() {
    for (const one of document.querySelectorAll(".toggle, .dj-orders button")) one.setAttribute("aria-pressed", "true");
    for (const one of document.querySelectorAll(".play")) one.classList.add("running");
    for (const one of document.querySelectorAll(".pad")) one.classList.add("set");
    for (const one of document.querySelectorAll("[data-action=loop-in]")) one.classList.add("armed");
    for (const one of document.querySelectorAll(".button, select")) one.disabled = false;
  }

  // What does not stand out in any of the states of the pointer, by state; `on`: all that can be.
  function faintWhile(selector, pointers, on) {
    const found = {};
    let count = 0;
    for (const [name, states] of Object.entries(pointers)) {
      if (on) turnOn();
      force(selector, states);
      const got = faint(selector);
      count += got.count;
      if (got.found.length) found[`${on ? "on" : "off"}, ${name}`] = got.found;
    }
    force(selector, []);
    return { count, found };
  }

  return { clipped, controls, faint, faintWhile, forceable, hidden, name, outside, overlaps, ratio, smallerThan };
})();
globalThis.measure = measure;
