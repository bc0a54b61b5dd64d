// The Analyse button for tempo, key and beat grid, and the progress of the analysis.

import { h, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { announce } from "../controls/announce.js";
import { VIEW_ONLY } from "../live.js";

/** Post a request. `body`: {path} with a path from the library, or {stop: 1}. Rejects on failure. */
async function post(body) {
  const response = await fetch("/library/analyse", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || response.statusText);
}

/** The button for the selected entry; `chosen()` returns it, or null. */
export function analyseButton(live, chosen) {
  const name = "Analyse the selected track: tempo, key and beat grid";
  return button("Analyse", name, () => {
    const entry = chosen();
    if (!entry) announce("Select a track or a folder first");
    else if (!live.writable) announce(VIEW_ONLY, "bad");
    else {
      const shown = entry.title || entry.name;
      post({ path: entry.path }).then(
        () => announce(`Analysing ${shown}: the DJ panel shows the progress`),
        (error) => announce(`Could not analyse ${shown}: ${error.message}`, "bad"),
      );
    }
  }, { class: "analyse", "data-action": "analyse" });
}

/** The card of the DJ panel: the current analysis of the library or of the DJ. */
export function makeProgress(live) {
  const name = h("strong", { class: "dj-name" });
  const bar = h("progress", { max: "1", "aria-label": "Analysis" });
  const text = h("p", { class: "analysis-text" });
  const stop = button("Stop", "Stop the analysis; finished results are kept", () =>
    post({ stop: 1 }).catch((error) => announce(error.message, "bad")), { "data-action": "analyse-stop" });
  const element = h("section", { class: "card analysis" },
    h("h3", {}, "Analysis"), name, bar, text, stop);
  let before = {};

  function draw() {
    const own = live.get("analysis") || {};
    const dj = live.get("dj") || {};
    const theirs = (dj.there && dj.analysis) || {}; // outdated if the DJ is gone
    const now = own.running ? own : theirs.tracks ? theirs : own;
    const on = Boolean(own.running || theirs.tracks);
    element.hidden = !on && !own.last;
    stop.hidden = !own.running;
    bar.hidden = !on;
    if (now.tracks || now.share) bar.value = now.share || 0;
    else bar.removeAttribute("value");
    setText(name, now.name || leaf(now.path || now.last));
    setText(text, on ? progressText(now) : resultText(now));
    // Without a last one, it ended with the server's process.
    if (before.running && !own.running && own.last) announce(resultText(own, before), own.bad ? "bad" : "");
    before = own;
  }
  live.on("analysis", draw);
  live.on("dj", draw);
  draw();
  return element;
}

function progressText({ tracks, done = 0, share = 0, bad, wait }) {
  const parts = [tracks ? `${done} of ${tracks} ${tracks === 1 ? "track" : "tracks"}, ${Math.round(100 * share)} %` : "searching for tracks …"];
  if (wait) parts.push(`${wait} more queued`);
  if (bad) parts.push(`${bad} failed`);
  return parts.join("; ");
}

function resultText({ tracks, done = 0, bad, reason, last }) {
  if (bad) return `The analysis of ${leaf(last)} is incomplete: ${reason || `${bad} failed`}`;
  if (!tracks) return `${leaf(last)} has already been analysed`;
  if (done < tracks) return `The analysis of ${leaf(last)} was stopped`;
  return `${leaf(last)} is analysed`;
}

function leaf(path = "") {
  return path.split("/").pop();
}
