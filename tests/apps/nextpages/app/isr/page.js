import { revalidatePath } from "next/cache";

// Kept for an hour, or until somebody renews it.
export const revalidate = 3600;

async function renew() {
  "use server";
  revalidatePath("/isr");
}

export default async function Page() {
  return (
    <form action={renew}>
      <output id="made">{crypto.randomUUID()}</output>
      <button>Renew</button>
    </form>
  );
}
