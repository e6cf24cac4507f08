// Made for each request, since it looks at the query.
export default async function Page({ params, searchParams }) {
  return <p>{JSON.stringify([await params, await searchParams])}</p>;
}
