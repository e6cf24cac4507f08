// Whoever is signed in: the access token of the login, kept in this browser for all its tabs.

const KEY = "token";
const listeners = new Set();

/** The token, or null without one that is still good. */
export function storedToken() {
  const token = localStorage.getItem(KEY);
  return token && claims(token).exp * 1000 > Date.now() ? token : null;
}

/** Signs in, or out with null. */
export function setToken(token) {
  if (token) localStorage.setItem(KEY, token);
  else localStorage.removeItem(KEY);
  for (const listener of listeners) listener();
}

/** Calls back when this tab or another one of this browser signs in or out. */
export function whenTokenChanges(listener) {
  listeners.add(listener);
  window.addEventListener("storage", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("storage", listener);
  };
}

/** The id of the user that a token is for. */
export function userOf(token) {
  return claims(token).user_id;
}

function claims(token) {
  return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
}
