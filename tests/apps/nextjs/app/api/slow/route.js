export const dynamic = "force-dynamic";

const waiting = [];

/** An answer in two parts: the second is sent only when somebody has posted here. */
export function GET() {
  const posted = new Promise((resolve) => waiting.push(resolve));
  const encode = (text) => new TextEncoder().encode(text);
  const body = new ReadableStream({
    async start(controller) {
      controller.enqueue(encode("first\n"));
      await posted;
      controller.enqueue(encode("second\n"));
      controller.close();
    },
  });
  return new Response(body, { headers: { "Content-Type": "text/plain" } });
}

/** Lets every waiting answer end. */
export function POST() {
  for (const resolve of waiting.splice(0)) resolve();
  return new Response(null, { status: 204 });
}
