import { useState } from "react";

export default function SignIn({ onSignIn }) {
  const [problem, setProblem] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    const body = JSON.stringify(Object.fromEntries(new FormData(event.target)));
    const response = await fetch("/api/login", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (response.ok) onSignIn(await response.json());
    else setProblem("Name or password is wrong.");
  };
  return (
    <form className="card sign-in" onSubmit={submit}>
      <h1>Orders</h1>
      <input name="name" placeholder="Name" autoComplete="username" />
      <input name="password" type="password" placeholder="Password" autoComplete="current-password" />
      <button>Sign in</button>
      <p className="problem">{problem}</p>
    </form>
  );
}
