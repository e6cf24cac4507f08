"use client";

import { useEffect, useRef, useState } from "react";
import { useRealtimeEvents } from "@/hooks/useRealtimeEvents";
import { load, put, send } from "@/lib/api";

export default function Messages({ conversationId, user }) {
  const [messages, setMessages] = useState([]);
  const [text, setText] = useState("");
  const end = useRef(null);

  const add = (message) => {
    if (message?.conversationId === conversationId) setMessages((known) => put(known, message));
  };
  useRealtimeEvents({
    connected: async () => {
      const all = await load(`/api/messages?conversationId=${conversationId}`);
      if (all) setMessages((known) => known.filter(({ id }) => id > (all.at(-1)?.id ?? 0)).reduce(put, all));
    },
    message: add,
    conversation_update: ({ lastMessage }) => add(lastMessage), // what the user wrote in another tab
  });
  useEffect(() => {
    end.current.scrollIntoView({ block: "nearest" });
  }, [messages]);

  async function write(event) {
    event.preventDefault();
    if (await send(`/api/conversations/${conversationId}/messages`, { text })) setText("");
  }

  return (
    <section className="messages">
      <ol>
        {messages.map(({ id, from, text, at }) => (
          <li key={id} className={from === user ? "own" : ""}>
            <span className="quiet">
              {from}, {new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}
            </span>
            <p>{text}</p>
          </li>
        ))}
        <li ref={end} />
      </ol>
      <form onSubmit={write}>
        <input value={text} onChange={(event) => setText(event.target.value)} placeholder="Write a message" required />
        <button>Send</button>
      </form>
    </section>
  );
}
