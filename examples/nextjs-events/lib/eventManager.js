// Events from the app to its users' tabs. The hub that was here is Sidestream now; what is left hands events over on its
// Unix socket. Nothing but Node.

import { Agent, request } from "node:http";

const TIMEOUT = 2000; // milliseconds that an event may take to be handed over, waiting for its turn included

// One connection, so that events arrive in the order in which they were emitted.
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

export const eventManager = {
  /**
   * Sends an event to every tab that a user has open. Returns at once and never throws: what it tells of is stored
   * already, and a page that missed it loads it when its stream comes back.
   */
  emit(userId, type, data) {
    post("/publish", { user: userId, event: type, data }).catch((error) =>
      console.error(`event ${type} for user ${userId} was not sent: ${error.message}`),
    );
  },

  /** Ends the streams of a user who signs out. Tabs that still have a session come back by themselves. */
  async disconnect(userId) {
    await post("/disconnect", { user: userId }).catch((error) =>
      console.error(`the streams of user ${userId} were not ended: ${error.message}`),
    );
  },
};

function post(path, body) {
  const text = JSON.stringify(body);
  const options = {
    agent,
    socketPath: process.env.SIDESTREAM_SOCKET ?? "sidestream.sock",
    path,
    method: "POST",
    headers: { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) },
    signal: AbortSignal.timeout(TIMEOUT),
  };
  return new Promise((resolve, reject) => {
    request(options, async (response) => {
      try {
        let answer = "";
        for await (const chunk of response.setEncoding("utf8")) answer += chunk;
        if (response.statusCode === 200) resolve();
        else reject(new Error(`${response.statusCode} ${answer}`));
      } catch (error) {
        reject(error);
      }
    })
      .on("error", reject)
      .end(text);
  });
}
