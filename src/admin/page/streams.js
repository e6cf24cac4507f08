// What the token opens: streams and channels, a test event, a question, a reload.
"use strict";

const REFRESH_MS = 5_000;
const TYPING_MS = 250;
const SURE_FOR_MS = 4_000;
const A_PAGE = 20;
// The cells of a stream behind its user's, by their names on a phone.
const CELLS = [
  ["Channels", ""],
  ["Address", ""],
  ["Age", "number"],
  ["Backlog", "number"],
  ["Events", "number"],
  ["Last id", "id"],
  ["Protocol", ""],
];

let page = 1;
let asked = 0;
let typing;
let refreshing;

// Asks for the page of streams that is wanted now. Of several answers the last one counts.
async function find() {
  const mine = ++asked;
  const query = new URLSearchParams({ search: $("text").value, order: $("order").value, page });
  try {
    const found = await ask(`/status/streams?${query}`);
    if (mine === asked) showStreams(found);
  } catch (error) {
    if (mine === asked) receipt("ended", error.message, true);
  }
}

function showStreams({ count, pages, streams, missing_workers }) {
  if (streams.length === 0 && page > 1) {
    page = Math.max(1, Math.min(pages, page - 1));
    find();
    return;
  }
  const missing = missing_workers.length ? `; without worker ${missing_workers.join(", ")}, which did not answer` : "";
  $("count").textContent = `${counted.format(count)} ${$("text").value.trim() ? "found" : "open"}${missing}`;
  $("none").hidden = streams.length > 0;
  $("none").textContent = $("text").value ? "No stream is like that." : "No stream is open.";
  $("found").hidden = streams.length === 0;
  $("pager").hidden = pages < 2;
  $("previous").disabled = page <= 1;
  $("next").disabled = page >= pages;
  const last = A_PAGE * (page - 1) + streams.length;
  $("page").textContent = `${counted.format(A_PAGE * (page - 1) + 1)}–${counted.format(last)} of ${counted.format(count)}`;
  const rows = new Map([...$("found").tBodies[0].rows].map((row) => [row.dataset.stream, row]));
  $("found").tBodies[0].replaceChildren(
    ...streams.map((stream) => {
      // A row that is there stays there, with its button and whoever is about to press it.
      const row = rows.get(stream.stream) ?? newRow(stream);
      fill(row, stream);
      return row;
    }),
  );
}

function newRow({ stream, user }) {
  const row = document.createElement("tr");
  row.dataset.stream = stream;
  row.append(heading(""));
  for (const [name, kind] of CELLS) {
    const made = row.appendChild(cell("", kind));
    made.dataset.name = name;
  }
  const button = element("button", "End");
  button.type = "button";
  button.setAttribute("aria-label", `End the stream of ${user ?? "an anonymous client"}`);
  button.addEventListener("click", () => end(row, button));
  const last = row.appendChild(cell("", "act"));
  last.append(button);
  return row;
}

function fill(row, stream) {
  const more = stream.more_channels ? ` and ${stream.more_channels} more` : "";
  const texts = [
    stream.user ?? "anonymous",
    stream.channels.join(", ") + more,
    stream.address,
    lasted(stream.age),
    stream.backlog ? bytes(stream.backlog) : "0",
    number(stream.events),
    stream.last_id,
    stream.protocol,
  ];
  texts.forEach((text, place) => {
    if (row.cells[place].textContent !== text) row.cells[place].textContent = text;
  });
  row.cells[0].classList.toggle("muted", stream.user === null);
  row.cells[4].classList.toggle("bad", stream.backlog > 0);
  row.title = stream.route;
}

// The first press asks, the second one does it.
async function end(row, button) {
  if (!button.classList.contains("sure")) {
    button.classList.add("sure");
    button.textContent = "End it?";
    setTimeout(() => {
      button.classList.remove("sure");
      button.textContent = "End";
    }, SURE_FOR_MS);
    return;
  }
  button.disabled = true;
  try {
    const { ended } = await ask("/status/end", { method: "POST", body: { stream: row.dataset.stream } });
    const whose = row.cells[0].textContent;
    receipt("ended", ended ? `The stream of ${whose} was ended. Its client comes back with its last id.` : "It had ended already.");
    (row.nextElementSibling ?? row.previousElementSibling)?.querySelector("button").focus();
    row.remove();
    find();
  } catch (error) {
    button.disabled = false;
    receipt("ended", error.message, true);
  }
}

async function showChannels() {
  try {
    const { channels } = await ask("/status/channels");
    $("no-channels").hidden = channels.length > 0;
    $("channels").hidden = channels.length === 0;
    replaceRows("channels", channels.map(({ channel, streams, events, last_id }) => {
      const row = document.createElement("tr");
      row.append(heading(channel), cell(number(streams), "number"), cell(number(events), "number"), cell(last_id ?? "–", "id"));
      return row;
    }));
  } catch {
    // The search next to it says what is wrong.
  }
}

function refresh() {
  if (document.hidden || $("open").hidden) return;
  showChannels();
  // Rows do not move under a pointer, or away from a button that has the focus.
  if (!$("found").matches(":hover, :focus-within")) find();
}

$("text").addEventListener("input", () => {
  page = 1;
  clearTimeout(typing);
  typing = setTimeout(find, TYPING_MS);
});
$("order").addEventListener("change", () => {
  page = 1;
  find();
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});
for (const [id, step] of [["previous", -1], ["next", 1]]) {
  $(id).addEventListener("click", () => {
    page += step;
    find();
  });
}

$("to").addEventListener("change", () => {
  $("whom-label").textContent = $("to").value === "user" ? "Id of the user" : "Name of the channel";
});

$("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("data").value;
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    data = text;
  }
  const body = { [$("to").value]: $("whom").value.trim(), data };
  if ($("event").value) body.event = $("event").value;
  try {
    const { id, delivered } = await ask("/status/publish", { method: "POST", body });
    receipt("published", `Published as ${id}, delivered to ${delivered === 1 ? "1 stream" : `${counted.format(delivered)} streams`}.`);
    $("explain-id").value = id;
    if ($("to").value === "user") $("explain-user").value = $("whom").value.trim();
  } catch (error) {
    receipt("published", error.message, true);
  }
});

// A stream as `/explain` tells of it, in one line.
function saidOf(stream) {
  if (typeof stream === "string") return stream;
  const { state, reason, protocol, opened } = stream;
  const when = opened ? `opened ${new Date(opened).toLocaleString()}` : "";
  return [state, when, protocol, reason].filter(Boolean).join(", ") || JSON.stringify(stream);
}

$("explain").addEventListener("submit", async (event) => {
  event.preventDefault();
  const query = new URLSearchParams({ user: $("explain-user").value.trim(), id: $("explain-id").value.trim() });
  try {
    const { outcome, reason, streams = [] } = await ask(`/explain?${query}`);
    receipt("explained", "");
    $("explained").append(element("b", outcome ?? ""), element("p", reason ?? ""));
    const list = $("explained").appendChild(document.createElement("ul"));
    for (const stream of streams) list.append(element("li", saidOf(stream)));
  } catch (error) {
    receipt("explained", error.status === 404 ? "Nothing is known of this event here." : error.message, true);
  }
});

$("reload").addEventListener("click", async () => {
  receipt("reloaded", "Reading the file …");
  try {
    const { generation, changed, kept } = await ask("/reload", { method: "POST" });
    const what = changed.length ? `changed: ${changed.join(", ")}` : "the file says the same as before";
    const rest = kept.length ? ` Only a start changes ${kept.join(", ")}.` : "";
    receipt("reloaded", `Configuration no. ${generation} is in force; ${what}.${rest}`);
  } catch (error) {
    receipt("reloaded", error.message, true);
    for (const { message, file, line } of error.answer?.problems ?? []) {
      $("reloaded").append(element("p", `${file}${line ? `:${line}` : ""}: ${message}`));
    }
  }
});

onUnlocked.push(() => {
  find();
  showChannels();
  refreshing = setInterval(refresh, REFRESH_MS);
});
onLocked.push(() => {
  clearInterval(refreshing);
  // Nothing of it stays in the page.
  $("found").tBodies[0].replaceChildren();
  $("channels").tBodies[0].replaceChildren();
});

watch();
if (token) unlock(false);
