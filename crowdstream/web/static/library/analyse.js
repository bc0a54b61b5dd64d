// "Analyse": has the server find out a track's tempo, key and beats, and shows how far that is.

import { h, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { say } from "../controls/say.js";
import { LOOK_ONLY } from "../live.js";

/** Ask the server for it. `body`: {path} as the library lists it, or {stop: 1}. Rejects. */
async function ask(body) {
  const response = await fetch("/library/analyse", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || response.statusText);
}

/** The button for what is chosen; `chosen()`: its entry, or null. */
export function analyseButton(live, chosen) {
  const name = "Analyse the chosen track: tempo, key and beats";
  return button("Analyse", name, () => {
    const entry = chosen();
    if (!entry) say("Choose a track or a folder first");
    else if (!live.writable) say(LOOK_ONLY, "bad");
    else {
      const shown = entry.title || entry.name;
      ask({ path: entry.path }).then(
        () => say(`${shown} is being analysed; the DJ panel shows how far it is`),
        (error) => say(`${shown} is not analysed: ${error.message}`, "bad"),
      );
    }
  }, { class: "analyse", "data-action": "analyse" });
}

/** The card of the DJ panel: what is analysed now, for the library or by the DJ. */
export function makeProgress(live) {
  const name = h("strong", { class: "dj-name" });
  const bar = h("progress", { max: "1", "aria-label": "Analysis" });
  const text = h("p", { class: "analysis-text" });
  const stop = button("Stop", "Stop the analysis; what is done is kept", () =>
    ask({ stop: 1 }).catch((error) => say(error.message, "bad")), { "data-action": "analyse-stop" });
  const element = h("section", { class: "card analysis" },
    h("h3", {}, "Analysis"), name, bar, text, stop);
  let before = {};

  function draw() {
    const own = live.get("analysis") || {};
    const dj = live.get("dj") || {};
    const theirs = (dj.there && dj.analysis) || {}; // of one that has gone it is old
    const now = own.running ? own : theirs.tracks ? theirs : own;
    const on = Boolean(own.running || theirs.tracks);
    element.hidden = !on && !own.last;
    stop.hidden = !own.running;
    bar.hidden = !on;
    if (now.tracks || now.share) bar.value = now.share || 0;
    else bar.removeAttribute("value");
    setText(name, now.name || leaf(now.path || now.last));
    setText(text, on ? progressText(now) : resultText(now));
    if (before.running && !own.running) say(resultText(own, before), own.bad ? "bad" : "");
    before = own;
  }
  live.on("analysis", draw);
  live.on("dj", draw);
  draw();
  return element;
}

function progressText({ tracks, done = 0, share = 0, bad, wait }) {
  const parts = [tracks ? `${done} of ${tracks} ${tracks === 1 ? "track" : "tracks"}, ${Math.round(100 * share)} %` : "looking for tracks …"];
  if (wait) parts.push(`${wait} more ${wait === 1 ? "waits" : "wait"}`);
  if (bad) parts.push(`${bad} bad`);
  return parts.join("; ");
}

function resultText({ tracks, done = 0, bad, reason, last }) {
  if (bad) return `Not all of ${leaf(last)} is analysed: ${reason || `${bad} bad`}`;
  if (!tracks) return `${leaf(last)} was analysed before`;
  if (done < tracks) return `The analysis of ${leaf(last)} was stopped`;
  return `${leaf(last)} is analysed`;
}

function leaf(path = "") {
  return path.split("/").pop();
}
