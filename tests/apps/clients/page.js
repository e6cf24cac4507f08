// The clients that live in a browser. Each has a record under its name: what it fired in order, and how it fared.
import { fetchEventSource } from "/packages/@microsoft/fetch-event-source/lib/esm/index.js";
import ReconnectingEventSource from "/packages/reconnecting-eventsource/build/esm/reconnecting-eventsource.js";

const KINDS = ["message", "notification", "reset"];
const records = {};

// Opens a stream with a library. Options are the library's.
function start(name, library, url, options = {}) {
  const record = { lines: [], close: () => {} };
  records[name] = record;
  if (library === "fetch-event-source") {
    fetched(record, url, options);
  } else {
    const Source = library === "native" ? EventSource : ReconnectingEventSource;
    sourced(record, new Source(url, options));
  }
}

function sourced(record, source) {
  record.close = () => source.close();
  source.onopen = () => record.lines.push({ open: true });
  source.onerror = (e) => record.lines.push({ error: e.data ?? null, state: source.readyState });
  for (const kind of KINDS) {
    source.addEventListener(kind, (e) => record.lines.push({ event: kind, data: e.data, id: e.lastEventId }));
  }
}

function fetched(record, url, options) {
  const abort = new AbortController();
  record.close = () => abort.abort();
  fetchEventSource(url, {
    ...options,
    openWhenHidden: true,
    signal: abort.signal,
    onopen: async (response) => {
      if (!response.ok) throw new Error(response.status);
      record.lines.push({ open: true });
    },
    onmessage: ({ event, data, id }) => record.lines.push({ event: event || "message", data, id }),
    onclose: () => record.lines.push({ closed: true }), // after this it stays away
    onerror: (error) => void record.lines.push({ error: String(error) }),
  });
}

const lines = (name) => records[name].lines;
const close = (name) => records[name].close();

window.clients = { start, lines, close };
