import { Suspense } from "react";
import { released } from "../../lib/release";

// The frame is sent at once, the rest when somebody has posted its key to /api/release.
export default async function Page({ searchParams }) {
  const { key } = await searchParams;
  return (
    <>
      <h1>The frame</h1>
      <Suspense fallback={<p>The rest is being made</p>}>
        <Rest id={key} />
      </Suspense>
    </>
  );
}

async function Rest({ id }) {
  await released(id);
  return <p>The rest is here</p>;
}
