// What waits for a key, and the keys that nobody waited for yet: kept by the process, since pages and routes are bundled apart.
const waiting = (globalThis.waiting ??= new Map());

function entry(key) {
  if (!waiting.has(key)) {
    const made = {};
    made.promise = new Promise((resolve) => (made.resolve = resolve));
    waiting.set(key, made);
  }
  return waiting.get(key);
}

/** Waits until a key is released, by whoever comes first. */
export function released(key) {
  return entry(key).promise;
}

/** Lets whoever waits for a key go on. */
export function release(key) {
  entry(key).resolve();
}
