/** The JSON of one of the app's own routes, or undefined when it can't be had now. */
export async function load(path) {
  const response = await fetch(path).catch(() => null);
  return response?.ok ? response.json() : undefined;
}

/** Sends JSON to one of the app's own routes; says whether it was taken. */
export async function send(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => null);
  return response?.ok ?? false;
}

/** A list with `item` in the place of the one with its id, or at its end. */
export function put(list, item) {
  const index = list.findIndex(({ id }) => id === item.id);
  return index < 0 ? [...list, item] : list.with(index, item);
}
