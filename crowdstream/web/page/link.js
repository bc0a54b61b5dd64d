// The state of the connection, said plainly: what is shown while it is away is old.

import { setText } from "./controls/dom.js";

const LOOK_ONLY = "This page may only look. To change things, open it with the address that the "
  + "server printed, which has the token in it.";
const AWAY = "No connection to the server: trying again. What is shown is what was known last.";

export function showLink(live) {
  const place = document.getElementById("link");
  const banner = document.getElementById("banner");

  function draw() {
    const { state } = live;
    const open = state === "open";
    const write = open && live.hello.write;
    document.body.dataset.link = state;
    document.getElementById("desk").setAttribute("aria-busy", open ? "false" : "true");
    setText(place, open ? (write ? "Live" : "Read only") : state === "lost" ? "Offline" : "Connecting");
    banner.hidden = write || state === "connecting";
    setText(banner, open ? LOOK_ONLY : AWAY);
  }
  live.events.addEventListener("state", draw);
}
