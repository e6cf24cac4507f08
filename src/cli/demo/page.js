// The demo's page: two users, their streams, and a form with which the app behind publishes.
"use strict";

// A browser gives one host six HTTP/1.1 connections, so a tab that nobody sees lets go of its two.
const HIDDEN_FOR_MS = 10_000;
// Events this soon after a resumed stream opened were waiting for it.
const CATCHING_UP_MS = 150;
// Between a token that was refused and the next, so that a server that refuses them all is not stormed.
const RENEW_AFTER_MS = 1_000;
const KEPT_ROWS = 100;
const SPARK_BARS = 24;
const TITLES = [
  "Order 1042 was paid",
  "Your export is ready",
  "Cem replied to your comment",
  "Build 318 passed",
  "The parcel is out for delivery",
  "Invoice 77 is due tomorrow",
  "Three new sign-ups today",
];
// What a proxy tells the app about the client.
const FORWARDED = /^(x-forwarded-|forwarded$|x-real-ip$|x-request-id$|via$)/;

const $ = (id) => document.getElementById(id);
const now = () => performance.timeOrigin + performance.now();
const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });
const took = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

const streams = [];
const latencies = [];
let received = 0;
let published = 0;

class Stream {
  constructor(user) {
    this.user = user;
    this.lastId = "";
    this.ended = false;
    const panel = $("panel").content.cloneNode(true).firstElementChild;
    const find = (selector) => panel.querySelector(selector);
    [this.list, this.state, this.last, this.button] = ["ol", ".state", ".last code", ".cut"].map(find);
    panel.dataset.user = user.id;
    find("h3").textContent = user.name;
    find(".channel").textContent = `user:${user.id}`;
    this.button.onclick = () => this.toggle();
    $("panels").append(panel);
  }

  toggle() {
    if (this.source) {
      this.cut("cut by you");
      this.remark("Cut. What you send now waits; resume to get it.");
    } else {
      this.remark(`Resumed after ${this.lastId}`);
      this.open();
    }
  }

  open() {
    this.ended = this.lastId !== "";
    this.show("wait", "connecting");
    this.button.textContent = "Cut the connection";
    const query = new URLSearchParams({ token: this.user.token });
    if (this.lastId) query.set("last_event_id", this.lastId);
    this.source = new EventSource(`/events?${query}`);
    this.source.onopen = () => {
      this.openedAt = now();
      this.show("live", "live");
    };
    this.source.addEventListener("hello", (event) => this.reached(event.lastEventId));
    this.source.addEventListener("notification", (event) => this.arrived(event));
    this.source.addEventListener("message", (event) => this.arrived(event));
    this.source.addEventListener("reset", (event) => {
      this.reached(event.lastEventId);
      this.remark(`Some history is gone: ${parsed(event.data).reason ?? "reset"}`);
    });
    this.source.addEventListener("error", (event) => {
      // An event named `error` has data; a lost connection has none.
      if (event.data) return this.renew(parsed(event.data));
      this.ended = true;
      if (this.source.readyState === EventSource.CLOSED) this.renew({ error: "refused", code: 401 });
      else this.show("wait", "coming back");
    });
  }

  cut(why) {
    this.source?.close();
    this.source = undefined;
    this.button.textContent = "Resume";
    this.show("off", why);
  }

  // The token has run out, or Sidestream was started anew with another secret and other sockets.
  async renew(error) {
    this.cut(error.error ?? "ended");
    if (error.code !== 401) return;
    await new Promise((resolve) => setTimeout(resolve, RENEW_AFTER_MS));
    try {
      const facts = await getFacts();
      this.user.token = facts.users.find((user) => user.id === this.user.id).token;
      showCommands(facts);
    } catch {
      return;
    }
    // Unless someone was faster with the button.
    if (!this.source) this.open();
  }

  arrived(event) {
    const at = now();
    const data = parsed(event.data);
    this.reached(event.lastEventId);
    received += 1;
    const waited = this.ended && at - this.openedAt < CATCHING_UP_MS;
    const latency = typeof data.sent === "number" && !waited ? Math.max(0, at - data.sent) : undefined;
    if (latency !== undefined) latencies.push(latency);

    const title = element("b", data.title ?? event.data);
    const right = waited
      ? element("span", "caught up", "caught")
      : element("span", latency === undefined ? "" : took(latency), "took");
    const meta = element("span", `${event.lastEventId}  ${clock(at)}`, "meta");
    this.row(title, right, meta);
    showFigures();
  }

  reached(id) {
    if (!id) return;
    this.lastId = id;
    this.last.textContent = id;
  }

  remark(text) {
    this.row(element("span", text)).className = "remark";
  }

  row(...cells) {
    const item = document.createElement("li");
    item.append(...cells);
    this.list.prepend(item);
    while (this.list.children.length > KEPT_ROWS) this.list.lastChild.remove();
    return item;
  }

  show(is, text) {
    this.state.dataset.is = is;
    this.state.textContent = text;
    showFigures();
  }
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

// Data that is no JSON object is shown as it is.
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : { title: String(value) };
  } catch {
    return { title: text };
  }
}

function showFigures() {
  $("open").textContent = streams.filter((stream) => stream.state.dataset.is === "live").length;
  $("received").textContent = received;
  if (latencies.length === 0) return;
  const sorted = [...latencies].sort((a, b) => a - b);
  $("median").textContent = took(sorted[sorted.length >> 1]);
  const bars = latencies.slice(-SPARK_BARS);
  const highest = Math.max(...bars, 1);
  $("spark").innerHTML = bars
    .map((bar, index) => {
      const height = Math.max(2, (bar / highest) * 24);
      const x = (SPARK_BARS - bars.length + index) * 4;
      return `<rect x="${x}" y="${24 - height}" width="3" height="${height}" rx="1"/>`;
    })
    .join("");
}

function suggestTitle() {
  $("title").value = TITLES[published % TITLES.length];
}

async function push(to) {
  const receipt = $("receipt");
  const sent = now();
  try {
    const response = await fetch("/demo/push", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ to: to || null, title: $("title").value, sent }),
    });
    const answer = await response.json();
    receipt.classList.toggle("bad", !response.ok);
    if (!response.ok) {
      receipt.textContent = answer.message ?? answer.error;
      return;
    }
    $("held").textContent = answer.streams_held;
    const streams = answer.delivered === 1 ? "1 stream" : `${answer.delivered} streams`;
    receipt.textContent = `Published as ${answer.id}, delivered to ${streams}.`;
    published += 1;
    suggestTitle();
  } catch {
    receipt.classList.add("bad");
    receipt.textContent = "Sidestream does not answer. Is it still running?";
  }
}

function showCommands(facts) {
  const events = `${location.origin}/events?token=${facts.users[0].token}`;
  const data = '{"title": "Hello from the terminal"}';
  const publication = `{"user": "ana", "event": "notification", "data": ${data}}`;
  const lines = [
    ["Watch Ana's stream", `curl -N '${events}'`],
    [
      "Push to Ana, as a script would",
      `${facts.command} publish --socket ${facts.socket} --user ana --event notification --data '${data}'`,
    ],
    [
      "The same without Sidestream's command",
      `curl --unix-socket ${facts.socket} -H 'content-type: application/json' -d '${publication}' http://localhost/publish`,
    ],
  ];
  $("commands").replaceChildren();
  for (const [caption, line] of lines) {
    const figure = $("command").content.cloneNode(true).firstElementChild;
    figure.querySelector("figcaption").textContent = caption;
    figure.querySelector("code").textContent = line;
    const button = figure.querySelector("button");
    button.setAttribute("aria-label", `Copy: ${caption}`);
    button.onclick = () => copy(line, button, figure.querySelector("code"));
    $("commands").append(figure);
  }
}

async function copy(line, button, code) {
  try {
    await navigator.clipboard.writeText(line);
    button.textContent = "Copied";
  } catch {
    // No clipboard over plain HTTP to another host: the line is selected instead.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

function showHeaders(headers) {
  const rows = (wanted) =>
    headers
      .filter(([name]) => FORWARDED.test(name) === wanted)
      .map(([name, value]) => {
        const row = document.createElement("tr");
        const key = element("th", name);
        key.scope = "row";
        row.append(key, element("td", value));
        return row;
      });
  $("told").replaceChildren(...rows(true));
  $("passed").replaceChildren(...rows(false));
}

async function getFacts() {
  const response = await fetch("/api/demo");
  return response.json();
}

function letGoWhileHidden() {
  let timer;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => {
        for (const stream of streams) {
          stream.paused = stream.source !== undefined;
          if (stream.paused) stream.cut("paused while hidden");
        }
      }, HIDDEN_FOR_MS);
    } else {
      for (const stream of streams.filter((each) => each.paused)) {
        stream.paused = false;
        stream.open();
      }
    }
  });
}

async function start() {
  suggestTitle();
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    push(event.submitter?.value ?? "ana");
  });
  const facts = await getFacts();
  $("version").textContent = `${facts.version} demo`;
  $("held").textContent = facts.streams_held;
  streams.push(...facts.users.map((user) => new Stream(user)));
  for (const stream of streams) stream.open();
  showCommands(facts);
  showHeaders(facts.headers);
  letGoWhileHidden();
}

start();
