import { currentUser, unauthorized } from "@/lib/auth";
import { store } from "@/lib/store";

/** The messages of one conversation, the oldest first. */
export async function GET(request) {
  const userId = await currentUser();
  if (!userId) return unauthorized();
  const id = request.nextUrl.searchParams.get("conversationId");
  if (!store.conversation(id, userId)) return Response.json({ error: "Not found" }, { status: 404 });
  return Response.json(store.messages.filter(({ conversationId }) => conversationId === id));
}
