"use client";

import { useEffect, useRef } from "react";

const URL = "/api/events";
const TYPES = ["connected", "message", "notification", "conversation_update"];

// The components of a page share one connection.
const subscribers = new Set();
let source = null;
let connected = false;

/**
 * Calls `handlers[type](data)` for each event of whoever is signed in. `connected` comes whenever the connection is
 * there, also again after it was lost: the moment to load what the events then keep up to date.
 */
export function useRealtimeEvents(handlers) {
  const latest = useRef(handlers);
  useEffect(() => {
    latest.current = handlers;
  });
  useEffect(() => {
    const subscriber = (type, data) => latest.current[type]?.(data);
    subscribers.add(subscriber);
    source ??= open();
    if (connected) subscriber("connected");
    return () => {
      subscribers.delete(subscriber);
      if (subscribers.size === 0) close();
    };
  }, []);
}

function open() {
  const source = new EventSource(URL);
  for (const type of TYPES) {
    source.addEventListener(type, (event) => {
      if (type === "connected") connected = true;
      const data = JSON.parse(event.data);
      for (const subscriber of subscribers) subscriber(type, data);
    });
  }
  // The browser connects again by itself, and stops when it is told that nobody is signed in.
  source.addEventListener("error", () => {
    connected = false;
  });
  return source;
}

function close() {
  source.close();
  source = null;
  connected = false;
}
