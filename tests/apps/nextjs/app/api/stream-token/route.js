import { cookies } from "next/headers";
import { streamToken } from "../../../lib/sidestream";

/** A fresh token for the stream. */
export async function GET() {
  const user = (await cookies()).get("user")?.value;
  if (!user) return new Response(null, { status: 401 });
  return Response.json({ token: streamToken(user) }, { headers: { "Cache-Control": "no-store" } });
}
