"use client";

import { useState } from "react";
import { signOut } from "next-auth/react";
import Messages from "@/components/Messages";
import NotificationBell from "@/components/NotificationBell";
import Sidebar from "@/components/Sidebar";

export default function Home({ user }) {
  const [selected, setSelected] = useState("1");
  return (
    <main className="home">
      <header>
        <h1>Ride along</h1>
        <NotificationBell />
        <span>{user}</span>
        <button id="sign-out" onClick={() => signOut({ callbackUrl: "/" })}>
          Sign out
        </button>
      </header>
      <Sidebar selected={selected} onSelect={setSelected} />
      <Messages key={selected} conversationId={selected} user={user} />
    </main>
  );
}
