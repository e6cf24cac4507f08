import { currentUser, unauthorized } from "@/lib/auth";
import { eventManager } from "@/lib/eventManager";
import { store } from "@/lib/store";

/** Asks another user to be a friend. */
export async function POST(request) {
  const userId = await currentUser();
  if (!userId) return unauthorized();
  const { name } = await request.json();
  const friend = store.userByName(name);
  if (!friend || friend.id === userId) return Response.json({ error: "No such user" }, { status: 404 });
  const text = `${store.name(userId)} wants to be your friend`;
  const notification = store.createNotification(friend.id, "friend_request", text, userId);
  eventManager.emit(friend.id, "notification", notification);
  return Response.json({ requested: friend.name }, { status: 201 });
}
