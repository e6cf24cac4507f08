import { createContext, useContext, useEffect, useRef, useState } from "react";

const RECONNECT_MS = 5000;
const EVENTS = ["notification", "update", "user-action"];
const Stream = createContext(null);

/** What a component hears of the page's one stream: `handlers` by event type. Returns the stream's state. */
export function useNotificationStream(handlers = {}) {
  const { state, listeners } = useContext(Stream);
  const latest = useRef(handlers);
  latest.current = handlers;
  useEffect(() => {
    const listener = (type, data) => latest.current[type]?.(data);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, [listeners]);
  return state;
}

/** Holds the stream of a page, for the components in it. */
export function NotificationStream({ session, onUnauthorized, children }) {
  const [state, setState] = useState("connecting");
  const [listeners] = useState(() => new Set());

  useEffect(() => {
    let eventSource, timer, lastEventId;

    const connect = () => {
      const query = new URLSearchParams({ token: session.token, userId: session.userId });
      if (session.channels.length) query.set("channels", session.channels.join(","));
      if (lastEventId) query.set("lastEventId", lastEventId);
      eventSource = new EventSource(`/api/notifications/stream?${query}`);
      eventSource.onopen = () => setState("open");
      for (const type of EVENTS) {
        eventSource.addEventListener(type, (event) => {
          lastEventId = event.lastEventId;
          listeners.forEach((listener) => listener(type, JSON.parse(event.data)));
        });
      }
      eventSource.onerror = (event) => {
        if (event.data) {
          const { error, code } = JSON.parse(event.data);
          console.error("SSE error:", error);
          if (code === 401) {
            eventSource.close();
            onUnauthorized();
          }
        } else if (eventSource.readyState === EventSource.CLOSED) {
          // The browser gave up; the new EventSource says itself where the old one was.
          setState("closed");
          timer = setTimeout(connect, RECONNECT_MS);
        } else {
          setState("connecting");
        }
      };
    };

    connect();
    return () => {
      clearTimeout(timer);
      eventSource.close();
    };
  }, [session]);

  return <Stream.Provider value={{ state, listeners }}>{children}</Stream.Provider>;
}
