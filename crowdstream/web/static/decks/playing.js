// What plays: which decks run, what would stop with them, and which one leads.

const LETTERS = [..."ABCD"];
const MARGIN = 1.25; // louder by so much than the deck that leads, another one does

/** Whether a deck, as the picture has it, plays and is not about to stand still. */
export function runs(state) {
  return Boolean(state) && state.voice >= 0 && state.spin !== 0;
}

/** What stops with a deck, as "deck A (Night)"; empty while it does not run. */
export function stopsDeck(live, letter) {
  const state = live.get(`deck.${letter}`);
  if (!runs(state)) return "";
  const name = state.title || state.track;
  return name ? `deck ${letter} (${name})` : `deck ${letter}`;
}

/** What stops with several decks, in one text. */
export function stopsDecks(live, letters) {
  return [...letters].map((letter) => stopsDeck(live, letter)).filter(Boolean).join(" and ");
}

/** How loud a deck is let through, by its level and its side of the crossfader. */
function gainOf(state, mixer) {
  const at = mixer && mixer.crossfader !== undefined ? mixer.crossfader : 0.5;
  const side = { left: Math.min(1, 2 * (1 - at)), right: Math.min(1, 2 * at) }[state.crossfader] ?? 1;
  return (state.level ?? 1) * side;
}

/** Chooses the deck that leads: the loudest that runs; it leads until another is clearly louder. */
export class Leader {
  constructor(live) {
    this._live = live;
    this._letter = "";
  }

  /** Its letter, empty while no deck runs. With `known`, only decks whose tempo is known. */
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
