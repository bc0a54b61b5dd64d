// Which decks are playing, which ones an action would stop, and which one leads.

const LETTERS = [..."ABCD"];
const MARGIN = 1.25; // gain ratio by which another deck must be louder to take the lead

/** Whether a deck plays, and is not braking to a stop. */
export function runs(state) {
  return Boolean(state) && state.voice >= 0 && state.spin !== 0;
}

/** The deck that an action would stop, as "deck A (Night)"; empty if it does not play. */
export function stopsDeck(live, letter) {
  const state = live.get(`deck.${letter}`);
  if (!runs(state)) return "";
  const name = state.title || state.track;
  return name ? `deck ${letter} (${name})` : `deck ${letter}`;
}

/** Several such decks as one text. */
export function stopsDecks(live, letters) {
  return [...letters].map((letter) => stopsDeck(live, letter)).filter(Boolean).join(" and ");
}

/** A deck's gain from its level and its side of the crossfader. */
function gainOf(state, mixer) {
  const at = mixer && mixer.crossfader !== undefined ? mixer.crossfader : 0.5;
  const side = { left: Math.min(1, 2 * (1 - at)), right: Math.min(1, 2 * at) }[state.crossfader] ?? 1;
  return (state.level ?? 1) * side;
}

/** Selects the leading deck: the loudest that plays. It leads until another is clearly louder. */
export class Leader {
  constructor(live) {
    this._live = live;
    this._letter = "";
  }

  /** The letter of the leading deck, or "". With `known`, only decks with a known tempo count. */
  find(known = true) {
    const live = this._live;
    const mixer = live.get("mixer");
    const gains = new Map();
    for (const letter of LETTERS) {
      const state = live.get(`deck.${letter}`);
      if (runs(state) && (state.bpm || !known)) gains.set(letter, gainOf(state, mixer));
    }
    let best = gains.has(this._letter) ? this._letter : "";
    for (const [letter, gain] of gains) {
      if (!best || gain > MARGIN * gains.get(best) + 1e-3) best = letter;
    }
    if (known) this._letter = best;
    return best;
  }
}
