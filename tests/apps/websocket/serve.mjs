// A WebSocket server on npm ws that echoes, does what it is told, and writes down what it sees as lines of JSON.
// Arguments: the library's folder, the port.
const [library, port] = process.argv.slice(2);
const { createHash } = await import("node:crypto");
const { createServer } = await import("node:http");
const { WebSocketServer } = (await import(`${library}/index.js`)).default;
const note = (...line) => console.log(JSON.stringify(line));
const digest = (data) => createHash("sha256").update(data).digest("hex").slice(0, 16);

const http = createServer();
const server = new WebSocketServer({
  noServer: true,
  maxPayload: 1 << 26,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => [...offered][0],
});

http.on("upgrade", (request, socket, head) => {
  if (request.url.startsWith("/refused")) {
    socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\nX-Reason: none\r\nConnection: close\r\n\r\ngo away");
    return;
  }
  server.handleUpgrade(request, socket, head, (ws) => open(ws, request));
});

function open(ws, request) {
  note("open", request.url, request.headers.origin ?? "", request.headers.cookie ?? "", ws.protocol, ws.extensions);
  ws.on("message", (data, isBinary) => {
    note("message", isBinary ? "binary" : "text", data.length, digest(data));
    const [word, order, ...rest] = isBinary ? [] : data.toString().slice(0, 200).split(" ");
    if (word !== "do") ws.send(data, { binary: isBinary });
    else if (order === "close") ws.close(Number(rest[0]), rest.slice(1).join(" "));
    else if (order === "abort") ws._socket.resetAndDestroy();
    else if (order === "ping") ws.ping(rest[0]);
  });
  ws.on("ping", (data) => note("ping", data.toString()));
  ws.on("pong", (data) => {
    note("pong", data.toString());
    ws.send(`pong ${data}`);
  });
  ws.on("error", () => {});
  ws.on("close", (code, reason) => note("closed", code, reason.toString()));
}

http.listen(Number(port), "127.0.0.1");
