"use client";

import { useState } from "react";
import { send } from "@/lib/api";
import { setToken } from "@/lib/session";

export default function SignIn() {
  const [refused, setRefused] = useState(false);

  async function submit(event) {
    event.preventDefault();
    const answer = await send("/api/token/", Object.fromEntries(new FormData(event.currentTarget)));
    if (answer) setToken(answer.access);
    else setRefused(true);
  }

  return (
    <form className="sign-in" onSubmit={submit}>
      <h1 className="text-2xl font-bold">Approvals</h1>
      <input name="username" placeholder="Name" autoComplete="username" required />
      <input name="password" type="password" placeholder="Password" autoComplete="current-password" required />
      <button>Sign in</button>
      {refused && <p role="alert">That is not the name and password of a user.</p>}
    </form>
  );
}
