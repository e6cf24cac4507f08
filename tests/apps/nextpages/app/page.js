// Made once, at the build.
export default function Page() {
  return <h1>Static</h1>;
}
