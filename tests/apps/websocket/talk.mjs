// A WebSocket client on npm ws: holds the conversations of the test, and writes down what it sees as lines of JSON.
// Arguments: the library's folder, the address, the codes to close with as JSON.
const [library, url, codes] = process.argv.slice(2);
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
process.removeAllListeners("warning");
const { createHash } = await import("node:crypto");
const { once } = await import("node:events");
const { WebSocket } = (await import(`${library}/index.js`)).default;
const note = (...line) => console.log(JSON.stringify(line));
const digest = (data) => createHash("sha256").update(data).digest("hex").slice(0, 16);
const noise = (size) => Buffer.from(Uint32Array.from({ length: size / 4 }, (_, n) => Math.imul(n, 2654435761) >>> 0).buffer);

async function connect(path, protocols = []) {
  const options = { origin: "https://shop.example", headers: { Cookie: "a=1; b=2" }, perMessageDeflate: { threshold: 0 } };
  const ws = new WebSocket(url + path, protocols, { ...options, maxPayload: 1 << 26 });
  ws.ended = new Promise((resolve) => ws.on("close", (code, reason) => resolve([code, reason.toString()])));
  ws.on("error", () => {});
  await Promise.race([once(ws, "open"), ws.ended]);
  return ws;
}

async function echo(ws, data, options = {}) {
  const answer = once(ws, "message");
  ws.send(data, options);
  const [back, isBinary] = await answer;
  note("message", isBinary ? "binary" : "text", back.length, digest(back));
}

const ws = await connect("/a/b?c=%2F", ["chat.v2", "chat.v1"]);
note("open", ws.protocol, ws.extensions);
await echo(ws, "hello");
await echo(ws, "");
await echo(ws, Buffer.alloc(0));
await echo(ws, "gr\u00fc\u00df \u{1f980} dich");
await echo(ws, noise(8 << 20));
await echo(ws, "lorem ipsum ".repeat(100_000));
await echo(ws, noise(1 << 20), { compress: false });
ws.send(noise(100_000), { fin: false });
ws.ping("between");
const pong = once(ws, "pong");
ws.send(noise(4), { fin: false });
note("pong", (await pong)[0].toString());
await echo(ws, noise(70_000));
const asked = once(ws, "ping");
const said = once(ws, "message");
ws.send("do ping anybody");
note("ping", (await asked)[0].toString());
note("message", (await said)[0].toString());
ws.close(1000, "enough");
note("closed", ...(await ws.ended));

for (const [code, reason] of JSON.parse(codes)) {
  const mine = await connect("/mine");
  mine.close(code, reason);
  note("closed", ...(await mine.ended));
  const theirs = await connect("/theirs");
  theirs.send(`do close ${code} ${reason}`);
  note("closed", ...(await theirs.ended));
}

const cut = await connect("/cut");
cut.send("do abort");
note("closed", ...(await cut.ended));
const cutting = await connect("/cutting");
await echo(cutting, "x");
cutting._socket.destroy();
note("closed", ...(await cutting.ended));

const refused = new WebSocket(`${url}/refused`);
const [, answer] = await once(refused, "unexpected-response");
answer.setEncoding("utf8");
note("refused", answer.statusCode, answer.headers["x-reason"] ?? "", await answer.toArray().then((parts) => parts.join("")));
process.exit();
