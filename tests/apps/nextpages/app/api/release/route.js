import { release } from "../../../lib/release";

/** Lets a page of /suspense be finished. */
export async function POST(request) {
  release(await request.text());
  return new Response(null, { status: 204 });
}
