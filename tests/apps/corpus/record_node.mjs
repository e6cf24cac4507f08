// A Node app that writes down each request as it was given it: a line of JSON in the file RECORD, and the same as answer.
// A record has the form that upstreams.py describes.
import { openSync, writeSync } from "node:fs";
import { createServer } from "node:http";

const file = openSync(process.env.RECORD, "a");

const server = createServer((request, response) => {
  const parts = [];
  const record = (whole) => {
    const fields = {};
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      const name = request.rawHeaders[at].replaceAll("_", "-").toLowerCase();
      (fields[name] ??= []).push(request.rawHeaders[at + 1]);
    }
    const body = Buffer.concat(parts).toString("latin1");
    const line = JSON.stringify({ method: request.method, target: request.url, fields, whole, body }) + "\n";
    writeSync(file, line);
    return line;
  };
  request.on("data", (part) => parts.push(part));
  request.on("error", () => record(false));
  request.on("end", () => {
    const line = record(true);
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(line) });
    response.end(line);
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1");
