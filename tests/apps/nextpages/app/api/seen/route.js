/** How a request looked when the app got it. */
export async function POST(request) {
  const fields = [...request.headers].filter(([name]) => !["connection", "x-request-id"].includes(name));
  const body = Buffer.from(await request.arrayBuffer());
  return Response.json({ url: request.url, fields: fields.sort(), length: body.length, body: body.toString("base64").slice(-64) });
}

/** Two cookies, a status of its own, and fields that a proxy has no business with. */
export function GET() {
  const answer = new Response("teapot", { status: 418, headers: { "X-Own": "a, b", "Cache-Control": "private, no-store" } });
  answer.headers.append("Set-Cookie", "one=1; Path=/; HttpOnly");
  answer.headers.append("Set-Cookie", "two=2; Path=/; Expires=Thu, 01 Jan 2037 00:00:00 GMT");
  return answer;
}
