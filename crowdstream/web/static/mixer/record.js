// The record button and its notifications.

import { h, setAttribute, setText } from "../controls/dom.js";
import { toggle } from "../controls/button.js";
import { announce } from "../controls/announce.js";
import { timeText } from "../controls/values.js";

export function makeRecorder(live) {
  const time = h("span", { class: "record-time" });
  const control = toggle("icon:record", "Record the master", (on) => (on ? start() : stop()), {
    class: "record", "data-action": "record",
  });
  control.append(time);
  function start() {
    const path = `${stamp(new Date())}.wav`;
    live.do("/record/start", path).then(
      () => announce(`Recording to ${path}`),
      (error) => announce(error.message, "bad"),
    );
  }
  function stop() {
    live.order("/record/stop").then((answers) => {
      if (answers) announce("Recording finished");
    });
  }
  live.on("recording", (recording) => {
    const on = recording.files.length > 0;
    control.set(on);
    setAttribute(control, "title", on ? `Recording ${recording.files.join(", ")}` : "Record the master");
    if (recording.lost) announce(`Recording: ${recording.lost} frames lost, the disk is too slow`, "bad");
    draw();
  });
  live.onNow(draw);
  function draw() {
    const { files = [], began } = live.get("recording") || {};
    const begun = typeof began === "number"; // the recorder reports the first frame later
    if (!files.length || !begun || !live.now) setText(time, "");
    else setText(time, timeText(Math.max(0, live.now.frame - began) / live.hello.rate));
  }
  return control;
}

// A file name that sorts by time: crowdstream-2026-11-21-190512.
function stamp(date) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `crowdstream-${day}-${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join("")}`;
}
