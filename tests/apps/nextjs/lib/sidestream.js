// Events from a Node app to its users' browsers, through Sidestream. Nothing but Node: copy this file into your app.
//
//   await publish({ user: 42, event: "notification", data: { title: "hi" } });
//
// Environment: SIDESTREAM_SOCKET is [publish] socket, SIDESTREAM_SECRET the [auth] secret of sidestream.toml.

import { createHmac } from "node:crypto";
import { request } from "node:http";

/**
 * Hands one event to Sidestream and resolves to its reply: { id: "k3f9q-118", delivered: 3 }.
 *
 * Takes `user`, `users`, `channel` or `channels`, and optionally `event`, `data`, `ttl`, `key`, `collapse`. Rejects with
 * Sidestream's words when it refuses the event, and when it can't be reached or does not answer within `timeout` ms.
 */
export function publish(publication, timeout = 2000) {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify(publication);
    const options = {
      socketPath: process.env.SIDESTREAM_SOCKET,
      path: "/publish",
      method: "POST",
      headers: { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) },
      signal: AbortSignal.timeout(timeout),
    };
    request(options, async (response) => {
      try {
        let text = "";
        for await (const chunk of response.setEncoding("utf8")) text += chunk;
        const reply = JSON.parse(text);
        if (response.statusCode === 200) resolve(reply);
        else reject(new Error(reply.message ?? reply.error));
      } catch (error) {
        reject(error);
      }
    })
      .on("error", reject)
      .end(body);
  });
}

/** A token (JWT, HS256) with which the browser of `user` opens the stream; good for `lifetime` seconds. */
export function streamToken(user, lifetime = 3600) {
  if (user == null) throw new TypeError("nobody is signed in, so there is nobody to make a token for");
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const claims = { sub: String(user), exp: Math.floor(Date.now() / 1000) + lifetime };
  const unsigned = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${unsigned}.${createHmac("sha256", process.env.SIDESTREAM_SECRET).update(unsigned).digest("base64url")}`;
}
