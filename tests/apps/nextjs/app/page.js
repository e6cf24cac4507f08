import { cookies } from "next/headers";
import { streamToken } from "../lib/sidestream";
import Notifications from "./notifications";

// A server action: Next.js compares its Origin with the host that the proxy passes on.
async function signIn(form) {
  "use server";
  (await cookies()).set("user", form.get("user"), { httpOnly: true, sameSite: "lax" });
}

export default async function Page() {
  const user = (await cookies()).get("user")?.value;
  if (!user) {
    return (
      <form action={signIn}>
        <input name="user" aria-label="User" required />
        <button>Sign in</button>
      </form>
    );
  }
  return (
    <>
      <h1>Hello {user}</h1>
      <Notifications token={streamToken(user)} />
    </>
  );
}
