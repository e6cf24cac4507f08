// How things stand: our own event stream, and the tables that show its newest word.
"use strict";

// A browser gives one address six HTTP/1.1 connections, and there is room for a few watchers: a tab that nobody sees
// lets go of its own.
const HIDDEN_FOR_MS = 10_000;
const AGAIN_MS = 5_000;

const past = new Past();
let source;
// Told when it is known whether there is a token.
const onToken = [];

function watch() {
  source?.close();
  source = new EventSource("/status/events");
  source.addEventListener("history", (event) => {
    const { columns, rows, now } = JSON.parse(event.data);
    past.begin(columns, rows);
    show(now);
  });
  source.addEventListener("sample", (event) => {
    const { rows, now } = JSON.parse(event.data);
    past.add(rows);
    show(now);
  });
  source.addEventListener("error", async () => {
    const isOver = source.readyState === EventSource.CLOSED;
    say("wait", isOver ? await refusal() : "not connected, trying again");
    if (isOver) setTimeout(watch, AGAIN_MS);
  });
}

// Why the stream was refused, which an EventSource does not tell.
async function refusal() {
  const stop = new AbortController();
  try {
    const response = await fetch("/status/events", { signal: stop.signal });
    return response.ok ? "not connected, trying again" : (await response.json()).message;
  } catch {
    return "not connected, trying again";
  } finally {
    stop.abort();
  }
}

function say(is, text) {
  document.body.classList.toggle("stale", is !== "live");
  if ($("state").textContent === text) return;
  $("state").dataset.is = is;
  $("state").textContent = text;
}

function show(now) {
  say("live", "live");
  if (!now) return;
  const latest = (column) => past.rows.at(-1)?.[past.columns.indexOf(column)] ?? null;
  const cpu = latest("cpu");
  const memory = latest("memory");
  const facts = {
    serving: now.state,
    uptime: now.started ? lasted(Date.now() / 1000 - now.started) : "–",
    generation: `no. ${now.generation}`,
    store: now.store ? "takes events" : "takes no events",
    cpu: cpu === null ? "–" : `${Math.round(cpu * 100)} % of a core`,
    memory: memory === null ? "–" : bytes(memory),
    version: `Sidestream ${now.version}`,
  };
  for (const [id, text] of Object.entries(facts)) $(id).textContent = text;
  $("serving").classList.toggle("bad", now.state !== "serving");
  $("store").classList.toggle("bad", !now.store);
  showUpstreams(now.upstreams);
  showWorkers(now);
  for (const told of onToken) told(now);
}

function cell(text, className = "") {
  return element("td", text, className);
}

function heading(text) {
  const made = element("th", text);
  made.scope = "row";
  return made;
}

function showUpstreams(upstreams) {
  const rows = upstreams.flatMap((upstream) => {
    const row = element("tr", "", "above");
    row.append(
      heading(upstream.name),
      cell(number(upstream.requests), "number"),
      cell(number(upstream.errors), upstream.errors > 0 ? "number bad" : "number"),
      cell(millis(upstream.p50), "number"),
      cell(millis(upstream.p99), "number"),
    );
    const below = document.createElement("tr");
    const servers = below.appendChild(cell("", "servers"));
    servers.colSpan = 5;
    const list = servers.appendChild(document.createElement("ul"));
    for (const { server, up } of upstream.servers) {
      const item = list.appendChild(element("li", server, up ? "up" : "down"));
      if (!up) item.append(element("b", " away"));
    }
    return [row, below];
  });
  replaceRows("upstreams", rows);
}

function showWorkers({ workers, running }) {
  const rows = workers.map((worker, place) => {
    const row = document.createElement("tr");
    const { connections, streams, requests, deliveries, waiting } = worker;
    const numbers = [connections, streams, requests, deliveries, waiting];
    row.append(heading(String(place)), ...numbers.map((value) => cell(number(value), "number")));
    return row;
  });
  if (running < workers.length) {
    const row = document.createElement("tr");
    const said = cell(`${workers.length - running} of ${workers.length} have ended`, "bad");
    said.colSpan = 6;
    row.append(said);
    rows.push(row);
  }
  replaceRows("workers", rows);
}

// Leaves alone what reads the same, so that what is selected in it stays so.
function replaceRows(table, rows) {
  const body = $(table).tBodies[0];
  rows.forEach((row, place) => {
    const before = body.rows[place];
    if (!before) body.append(row);
    else if (!before.isEqualNode(row)) before.replaceWith(row);
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
}

let hiding;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => {
      source.close();
      say("off", "paused while hidden");
    }, HIDDEN_FOR_MS);
  } else if (source.readyState === EventSource.CLOSED) {
    watch();
  }
});
