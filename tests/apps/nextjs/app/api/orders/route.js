import { cookies } from "next/headers";
import { publish } from "../../../lib/sidestream";

/** Takes an order and tells all the user's tabs. */
export async function POST(request) {
  const user = (await cookies()).get("user")?.value;
  if (!user) return new Response(null, { status: 401 });
  const { item } = await request.json();
  // The order stands even when the push fails.
  const reply = await publish({ user, event: "notification", data: { title: `Order: ${item}` } }).catch(console.error);
  return Response.json({ item, delivered: reply?.delivered ?? null });
}
