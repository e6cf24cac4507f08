/** The two functions of the document. Their callers are as they were; the connections that they wrote to are Sidestream's now. */

import http from "node:http";

/** Notifies everyone, or one user. */
export function broadcastNotification(notificationData, targetUserId = null) {
  const recipient = targetUserId ? { user: targetUserId } : { channel: "all" };
  publish({ ...recipient, event: "notification", data: notificationData });
}

/** Tells every page that data has changed. */
export function broadcastUpdate(entity, action, payload) {
  const updateData = {
    type: "update",
    entity,
    action,
    payload,
  };
  publish({ channel: "all", event: "update", data: updateData });
}

/** Sends an event of the app's own kind to who asked for a channel. */
export function sendCustomEvent(channel, event, data) {
  publish({ channel, event, data });
}

// One at a time, so that events go out in the order of the calls.
const agent = new http.Agent({ maxSockets: 1 });

/** Hands an event to Sidestream. A failure is logged: the app goes on, and pages load what they missed. */
function publish(publication) {
  const failed = (reason) => console.error(`${publication.event} was not sent: ${reason}`);
  const socketPath = process.env.SIDESTREAM_SOCKET;
  const options = { agent, socketPath, path: "/publish", method: "POST", timeout: 2000 };
  const request = http.request({ ...options, headers: { "Content-Type": "application/json" } }, (response) => {
    response.resume();
    if (response.statusCode !== 200) failed(`status ${response.statusCode}`);
  });
  request.on("timeout", () => request.destroy(new Error("no answer within 2 s")));
  request.on("error", (error) => failed(error.message));
  request.end(JSON.stringify(publication));
}
