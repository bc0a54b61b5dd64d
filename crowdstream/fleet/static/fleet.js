// The fleet's table and log, polled once per second, and the form that sends a command.

const POLL_MS = 1000;
const LEAD_SECONDS = 2;
const UNITS = [["years", 31557600e3], ["days", 86400e3], ["hours", 3600e3], ["s", 1e3]];
const LABELS = ["load", "underruns", "clock", "BPM", "tracks"];
const byId = (id) => document.getElementById(id);

function element(name, text, style = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = style;
  return made;
}

function minutes(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// One decimal place, without a sign for 0.
function short(value) {
  return (Math.round(10 * value) / 10 || 0).toFixed(1);
}

function clock(server) {
  const ms = server.clock_ms;
  if (ms === null) return "?";
  const unit = UNITS.find(([, length]) => Math.abs(ms) >= length);
  if (unit) return `${short(ms / unit[1])} ${unit[0]}`;
  return `${short(ms)} ±${short(server.clock_error_ms)} ms`;
}

function tracks(server) {
  const playing = server.tracks.filter((track) => track.state !== "ready");
  return (playing.length ? playing : server.tracks)
    .map((one) => `${one.deck} ${one.state}: ${one.name} -${minutes(one.length - one.position)}`);
}

// A cell. `label`: shown before it where there is no room for the table's head.
function cell(label, texts, style = "") {
  const made = element("td", "", style);
  made.dataset.label = label;
  made.append(...texts.filter(Boolean).map((text) => element("div", text)));
  return made;
}

function row(server) {
  const made = document.createElement("tr");
  const head = element("th", server.name);
  head.scope = "row";
  head.title = [server.place, ...server.groups].join(" ");
  const health = server.reasons.length ? server.reasons.join("; ") : "ok";
  made.append(head, cell("health", [health], server.grade));
  const values = server.answers
    ? [[`${server.load.toFixed(0)} %`], [server.underruns.toFixed(0)], [clock(server)],
      [server.bpm.toFixed(1)], tracks(server)]
    : [[], [], [], [], []];
  const style = server.answers ? "" : "dim";
  made.append(...values.map((texts, at) =>
    cell(LABELS[at], texts, LABELS[at] === "tracks" ? style : `number ${style}`)),
  cell("version", [server.version], `number ${style}`));
  return made;
}

function showTargets(servers) {
  const names = new Set(["all", ...servers.flatMap((one) => one.groups),
    ...servers.map((one) => one.name)]);
  const select = byId("target");
  const shown = Array.from(select.options, (option) => option.value);
  if (shown.join("\n") === [...names].join("\n")) return;
  const chosen = select.value || "all";
  select.replaceChildren(...Array.from(names, (name) => element("option", name)));
  if (names.has(chosen)) select.value = chosen;
}

async function update() {
  const summary = byId("summary");
  try {
    const reply = await fetch("/api/fleet", { signal: AbortSignal.timeout(5000) });
    if (!reply.ok) throw new Error((await reply.json()).error);
    const state = await reply.json();
    const answer = state.servers.filter((one) => one.answers).length;
    summary.textContent = `${answer} of ${state.servers.length} servers answer`;
    summary.className = answer === state.servers.length ? "ok" : "bad";
    byId("servers").replaceChildren(...state.servers.map(row));
    byId("command").hidden = !state.write;
    showTargets(state.servers);
    byId("log").replaceChildren(...state.log.reverse().map((entry) => {
      const at = new Date(entry.at * 1000).toLocaleTimeString();
      return element("li", `${at} ${entry.server}: ${entry.text}`, entry.grade);
    }));
  } catch (error) {
    summary.textContent = `the fleet program does not answer: ${error.message}`;
    summary.className = "bad";
  }
  setTimeout(update, POLL_MS);
}

function argument(word) {
  const number = Number(word);
  return word !== "" && Number.isFinite(number) ? number : word;
}

async function send() {
  const [address, ...words] = byId("words").value.trim().split(/\s+/);
  const wanted = { targets: [byId("target").value], address, args: words.map(argument) };
  if (byId("together").checked) wanted.in = LEAD_SECONDS;
  const outcomes = byId("outcomes");
  byId("send").disabled = true;
  outcomes.replaceChildren(element("li", "sending", "dim"));
  try {
    const reply = await fetch("/api/command", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(wanted),
    });
    const found = await reply.json();
    if (!Array.isArray(found)) throw new Error(found.error);
    outcomes.replaceChildren(...found.map(
      (one) => element("li", `${one.server}: ${one.text}`, one.ok ? "ok" : "bad")));
  } catch (error) {
    outcomes.replaceChildren(element("li", error.message, "bad"));
  }
  byId("send").disabled = false;
}

byId("send").addEventListener("click", send);
byId("words").addEventListener("keydown", (event) => {
  if (event.key === "Enter") send();
});
update();
