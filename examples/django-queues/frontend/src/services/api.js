/** Where Sidestream listens; everything goes through it. */
export const API_URL = import.meta.env.VITE_API_URL ?? "http://localhost:8000";

/** A GET, or with a body a POST, with the user's token. */
export async function api(path, body) {
  const response = await fetch(API_URL + path, {
    method: body ? "POST" : "GET",
    headers: { "Content-Type": "application/json", Authorization: "Bearer " + localStorage.getItem("token") },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw Object.assign(new Error(`${path}: ${response.status}`), { status: response.status });
  return response.json();
}

export async function signIn(username, password) {
  const response = await fetch(API_URL + "/api/token/", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }),
  });
  if (!response.ok) throw new Error("refused");
  localStorage.setItem("token", (await response.json()).access);
}

export function signOut() {
  localStorage.clear();
}

/** Whose token is in the browser. */
export function currentUser() {
  const token = localStorage.getItem("token");
  if (!token) return null;
  const { user_id, username } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  return { id: Number(user_id), name: username };
}
