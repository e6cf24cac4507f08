"use client";

import { useState } from "react";
import { useRealtimeEvents } from "@/hooks/useRealtimeEvents";
import { load, put, send } from "@/lib/api";

export default function Sidebar({ selected, onSelect }) {
  const [conversations, setConversations] = useState([]);
  const [name, setName] = useState("");
  const [answer, setAnswer] = useState("");

  useRealtimeEvents({
    connected: async () => {
      const all = await load("/api/conversations");
      if (all) setConversations((known) => known.reduce(update, all)); // an event may have overtaken the answer
    },
    conversation_update: (conversation) => setConversations((known) => update(known, conversation)),
  });

  async function request(event) {
    event.preventDefault();
    setAnswer((await send("/api/friends/request", { name })) ? `Asked ${name}` : `Nobody is called ${name}`);
    setName("");
  }

  return (
    <nav className="sidebar">
      <ul>
        {conversations.map(({ id, title, lastMessage }) => (
          <li key={id}>
            <button aria-current={id === selected} onClick={() => onSelect(id)}>
              <strong>{title}</strong>
              <span className="quiet">{lastMessage ? `${lastMessage.from}: ${lastMessage.text}` : "No messages yet"}</span>
            </button>
          </li>
        ))}
      </ul>
      <form onSubmit={request}>
        <input value={name} onChange={(event) => setName(event.target.value)} placeholder="Add a friend" required />
        <button>Ask</button>
        <output className="quiet">{answer}</output>
      </form>
    </nav>
  );
}

/** The conversations with the state of one, unless it is older than what is known; the liveliest first. */
function update(conversations, conversation) {
  const known = conversations.find(({ id }) => id === conversation.id);
  if (known && latest(known) > latest(conversation)) return conversations;
  return put(conversations, conversation).sort((a, b) => latest(b) - latest(a));
}

/** Messages are numbered as they come. */
const latest = ({ lastMessage }) => lastMessage?.id ?? 0;
