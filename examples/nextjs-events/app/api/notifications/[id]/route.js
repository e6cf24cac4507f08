import { currentUser, unauthorized } from "@/lib/auth";
import { eventManager } from "@/lib/eventManager";
import { store } from "@/lib/store";

/** Marks a notification as read in all the user's tabs; that of a friend request accepts it. */
export async function POST(request, { params }) {
  const userId = await currentUser();
  if (!userId) return unauthorized();
  const id = Number((await params).id);
  const notification = store.notifications.find((one) => one.id === id && one.userId === userId);
  if (!notification) return Response.json({ error: "Not found" }, { status: 404 });

  const accepted = notification.kind === "friend_request" && !notification.read;
  notification.read = true;
  eventManager.emit(userId, "notification", notification);
  if (accepted) {
    const friend = notification.from;
    const conversation = store.createConversation(null, [friend, userId]);
    const answer = store.createNotification(friend, "friend_accepted", `${store.name(userId)} is your friend now`);
    eventManager.emit(friend, "notification", answer);
    for (const member of conversation.members) {
      eventManager.emit(member, "conversation_update", store.view(conversation, member));
    }
  }
  return Response.json(notification);
}
