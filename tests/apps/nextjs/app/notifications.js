"use client";

import { useEffect, useState } from "react";

export default function Notifications({ token }) {
  const [state, setState] = useState("closed");
  const [items, setItems] = useState([]);

  // The browser reconnects by itself and says where it was (Last-Event-ID). It gives up only when it is refused, as with
  // an expired token: then a fresh token and the last id we saw carry on where it stopped.
  useEffect(() => {
    let source, timer, stopped;
    let lastId = "";

    function listen(token) {
      const query = new URLSearchParams(lastId ? { token, lastEventId: lastId } : { token });
      source = new EventSource(`/events?${query}`);
      source.onopen = () => setState("open");
      source.onerror = () => {
        setState("closed");
        if (source.readyState === EventSource.CLOSED) timer = setTimeout(renew, 5000);
      };
      source.addEventListener("notification", (event) => {
        lastId = event.lastEventId;
        setItems((items) => [...items, { id: event.lastEventId, ...JSON.parse(event.data) }]);
      });
    }

    async function renew() {
      const response = await fetch("/api/stream-token").catch(() => null);
      const answer = response?.ok ? await response.json() : null;
      if (stopped) return;
      if (answer) listen(answer.token);
      else timer = setTimeout(renew, 5000);
    }

    listen(token);
    return () => {
      stopped = true;
      source.close();
      clearTimeout(timer);
    };
  }, [token]);

  return (
    <>
      <p>
        The stream is <output id="state">{state}</output>.
      </p>
      <button onClick={() => fetch("/api/orders", { method: "POST", body: JSON.stringify({ item: "Teapot" }) })}>
        Order a teapot
      </button>
      <ul id="notifications">
        {items.map((item) => (
          <li key={item.id}>{item.title}</li>
        ))}
      </ul>
    </>
  );
}
