import { cookies, headers } from "next/headers";

/** How the request looked when the app got it. */
export async function GET() {
  const fields = await headers();
  return Response.json({
    user: (await cookies()).get("user")?.value ?? null,
    host: fields.get("host"),
    proto: fields.get("x-forwarded-proto"),
    address: fields.get("x-forwarded-for"),
  });
}
