/** Sends JSON to the API; its answer, or null when it refuses or can't be reached. */
export async function send(path, body, token) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const options = { method: "POST", headers, body: JSON.stringify(body) };
  const response = await fetch(`${process.env.NEXT_PUBLIC_API_URL}${path}`, options).catch(() => null);
  return response?.ok ? response.json() : null;
}
