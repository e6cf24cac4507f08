// npm eventsource, with a token in a header: prints what it sees as lines of JSON.
// Arguments: the library's folder, the stream's address, the token.
const [library, url, token] = process.argv.slice(2);
const { EventSource } = await import(`${library}/dist/index.js`);
const print = (line) => console.log(JSON.stringify(line));

const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});
source.addEventListener("open", () => print({ open: true }));
source.addEventListener("error", (e) => print({ error: e.data ?? e.code ?? null, state: source.readyState }));
for (const kind of ["message", "notification", "reset"]) {
  source.addEventListener(kind, (e) => print({ event: kind, data: e.data, id: e.lastEventId }));
}
setInterval(() => {}, 60_000); // the library's own timer lets Node end while it waits to come back
