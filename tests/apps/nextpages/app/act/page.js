import { cookies } from "next/headers";
import { redirect } from "next/navigation";

// Next.js runs it only for pages of its own host, by the Origin of the request and the host that the proxy passes on.
async function greet(form) {
  "use server";
  const file = form.get("file");
  (await cookies()).set("greeted", `${form.get("name")} ${file?.size ?? 0}`, { httpOnly: true });
  redirect("/act?done=1");
}

export default async function Page() {
  const greeted = (await cookies()).get("greeted")?.value;
  return (
    <form action={greet}>
      <output id="greeted">{greeted ?? "nobody"}</output>
      <input name="name" aria-label="Name" />
      <button>Greet</button>
    </form>
  );
}
