import { currentUser, unauthorized } from "@/lib/auth";
import { store } from "@/lib/store";

/** The notifications of whoever is signed in, the oldest first. */
export async function GET() {
  const userId = await currentUser();
  if (!userId) return unauthorized();
  return Response.json(store.notifications.filter((notification) => notification.userId === userId));
}
