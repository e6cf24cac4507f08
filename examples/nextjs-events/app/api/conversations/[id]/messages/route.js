import { currentUser, unauthorized } from "@/lib/auth";
import { eventManager } from "@/lib/eventManager";
import { store } from "@/lib/store";

/** Writes a message into a conversation, and tells its members. */
export async function POST(request, { params }) {
  const userId = await currentUser();
  if (!userId) return unauthorized();
  const conversation = store.conversation((await params).id, userId);
  if (!conversation) return Response.json({ error: "Not found" }, { status: 404 });
  const { text } = await request.json();
  if (typeof text !== "string" || !text.trim()) return Response.json({ error: "text is missing" }, { status: 400 });

  const message = store.createMessage(conversation, userId, text);
  for (const member of conversation.members) {
    if (member !== userId) {
      const notification = store.createNotification(member, "message", `${message.from}: ${text}`);
      eventManager.emit(member, "message", message);
      eventManager.emit(member, "notification", notification);
    }
    eventManager.emit(member, "conversation_update", store.view(conversation, member));
  }
  return Response.json(message, { status: 201 });
}
