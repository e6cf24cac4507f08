import { currentUser, unauthorized } from "@/lib/auth";
import { store } from "@/lib/store";

/** The conversations of whoever is signed in, the liveliest first. */
export async function GET() {
  const userId = await currentUser();
  if (!userId) return unauthorized();
  const own = store.conversations.filter(({ members }) => members.includes(userId));
  own.sort((a, b) => (b.lastMessage?.id ?? 0) - (a.lastMessage?.id ?? 0));
  return Response.json(own.map((conversation) => store.view(conversation, userId)));
}
