import { useState } from "react";
import { signIn } from "./services/api.js";

export default function SignIn({ onSignIn }) {
  const [problem, setProblem] = useState("");
  const submit = (event) => {
    event.preventDefault();
    const { username, password } = Object.fromEntries(new FormData(event.target));
    signIn(username, password).then(onSignIn, () => setProblem("Name or password is wrong."));
  };
  return (
    <form className="card sign-in" onSubmit={submit}>
      <h1>Tea shop</h1>
      <input name="username" placeholder="Name" autoComplete="username" />
      <input name="password" type="password" placeholder="Password" autoComplete="current-password" />
      <button>Sign in</button>
      <p className="problem">{problem}</p>
    </form>
  );
}
