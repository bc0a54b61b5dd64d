// Formats values as text, and maps the position of a control to a value.
//
// A law maps the place of a control, 0 to 1, to the value of its command, and back.

const UNITY = 0.75; // place of unity gain on a fader: headroom above, finer control below

/** Texts -------------------------------------------------------------------------------------- */

export function decibels(gain) {
  return gain > 0 ? 20 * Math.log10(gain) : -Infinity;
}

export function dbText(gain, digits = 1) {
  const value = decibels(gain);
  if (value < -60) return "−∞ dB";
  return `${signed(value, digits)} dB`;
}

/** A number with its sign and a typographic minus. */
export function signed(value, digits = 1) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

export function percentText(value) {
  return `${Math.round(value * 100)} %`;
}

/** Seconds as minutes and seconds, with hours if there are any. */
export function timeText(seconds, tenths = false) {
  if (!Number.isFinite(seconds)) return "–:––";
  const sign = seconds < 0 ? "−" : "";
  const whole = tenths ? Math.floor(Math.abs(seconds) * 10) / 10 : Math.floor(Math.abs(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = (whole % 60).toFixed(tenths ? 1 : 0).padStart(tenths ? 4 : 2, "0");
  const head = hours ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`;
  return `${sign}${head}:${rest}`;
}

/** A number with the digits it needs, and its unit. */
export function unitText(value, unit = "") {
  if (unit === "Hz" && value >= 1000) return `${trimmed(value / 1000, 2)} kHz`;
  if (unit === "s" && Math.abs(value) < 1 && value !== 0) return `${trimmed(value * 1000, 1)} ms`;
  if (unit === "beats") return `${beatsText(value)} beats`;
  if (unit === "dB" || unit === "dBTP") return `${signed(value)} ${unit}`;
  return `${trimmed(value, Math.abs(value) >= 100 ? 0 : 2)}${unit ? ` ${unit}` : ""}`;
}

/** Beats in a musician's notation: 4, 3/4, 1/32. */
export function beatsText(value) {
  if (value >= 1 || value <= 0) return trimmed(value, 2);
  for (const bottom of [2, 4, 8, 16, 32, 3, 6, 12]) {
    const top = value * bottom;
    if (Math.abs(top - Math.round(top)) < 1e-3) return `${Math.round(top)}/${bottom}`;
  }
  return trimmed(value, 3);
}

function trimmed(value, digits) {
  return String(Number(value.toFixed(digits)));
}

/** Laws --------------------------------------------------------------------------------------- */

/** Linear from low to high; with `whole` in steps of 1. */
export function linear(low, high, whole = false) {
  return {
    low,
    high,
    value: (place) => (whole ? Math.round : (x) => x)(low + place * (high - low)),
    place: (value) => (value - low) / (high - low),
  };
}

/** Logarithmic: for frequencies, times and beats. */
export function logarithmic(low, high) {
  const span = Math.log(high / low);
  return {
    low,
    high,
    value: (place) => low * Math.exp(place * span),
    place: (value) => Math.log(Math.max(value, low) / low) / span,
  };
}

/** Gain of a fader: silence at the bottom, 1 at three quarters, linear in dB above that. */
export function fader(high) {
  const above = Math.log(high);
  return {
    low: 0,
    high,
    value: (place) => {
      if (place <= UNITY) return (place / UNITY) ** 3;
      return Math.exp((above * (place - UNITY)) / (1 - UNITY));
    },
    place: (gain) => {
      if (gain <= 1) return UNITY * Math.cbrt(Math.max(0, gain));
      return UNITY + ((1 - UNITY) * Math.log(gain)) / above;
    },
  };
}

/** A gain linear in dB on both sides of 0 dB, which is in the middle. */
export function decibelKnob(lowDb, highDb) {
  return {
    low: 10 ** (lowDb / 20),
    high: 10 ** (highDb / 20),
    value: (place) => 10 ** ((place < 0.5 ? lowDb * (1 - 2 * place) : highDb * (2 * place - 1)) / 20),
    place: (gain) => {
      const value = Math.max(lowDb, Math.min(highDb, decibels(gain)));
      return value < 0 ? 0.5 - 0.5 * (value / lowDb) : 0.5 + 0.5 * (value / highDb);
    },
  };
}

/** The law that suits a range: logarithmic if it is positive and spans a factor of 20 or more. */
export function fitting(low, high, whole = false) {
  if (!whole && low > 0 && high / low >= 20) return logarithmic(low, high);
  return linear(low, high, whole);
}
