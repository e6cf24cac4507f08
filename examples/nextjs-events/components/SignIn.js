"use client";

import { useState } from "react";
import { signIn } from "next-auth/react";

export default function SignIn() {
  const [refused, setRefused] = useState(false);

  async function submit(event) {
    event.preventDefault();
    const form = Object.fromEntries(new FormData(event.currentTarget));
    const answer = await signIn("credentials", { ...form, redirect: false });
    if (answer?.ok) window.location.reload();
    else setRefused(true);
  }

  return (
    <form className="sign-in" onSubmit={submit}>
      <h1>Ride along</h1>
      <input name="name" placeholder="Name: alice, bob or carol" autoComplete="username" required />
      <input name="password" type="password" placeholder="Password" autoComplete="current-password" required />
      <button>Sign in</button>
      {refused && <p role="alert">That is not the name and password of a user.</p>}
    </form>
  );
}
