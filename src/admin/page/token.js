// The admin token: kept in this tab, sent in a header and never in an address.
"use strict";

const KEPT_AS = "sidestream-admin-token";

let token = sessionStorage.getItem(KEPT_AS);
// Asked when the token is good, and when it is there no more.
const onUnlocked = [];
const onLocked = [];

// Asks something that needs the token. What is wrong is an Error with a sentence for people.
async function ask(target, { method = "GET", body } = {}) {
  const headers = { authorization: `Bearer ${token}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(target, { method, headers, body: body && JSON.stringify(body), credentials: "omit" });
  } catch {
    throw new Error("Sidestream does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) lock("The token is not, or no longer, the one of [admin].");
  if (response.ok) return answer;
  const error = new Error(answer.message ?? `It answered ${response.status}.`);
  throw Object.assign(error, { status: response.status, answer });
}

function receipt(id, text, isBad = false) {
  $(id).classList.toggle("bad", isBad);
  $(id).textContent = text;
}

async function unlock(isAsked) {
  try {
    await ask("/status/channels");
  } catch (error) {
    // Of a wrong token it has been said.
    if (error.status !== 401) receipt("unlock-said", error.message, true);
    return;
  }
  sessionStorage.setItem(KEPT_AS, token);
  $("locked").hidden = true;
  $("open").hidden = $("lock").hidden = false;
  for (const told of onUnlocked) told();
  if (isAsked) $("streams-title").focus({ preventScroll: true });
}

function lock(why) {
  const wasOpen = !$("open").hidden;
  token = null;
  sessionStorage.removeItem(KEPT_AS);
  $("open").hidden = $("lock").hidden = true;
  $("locked").hidden = false;
  receipt("unlock-said", why, true);
  for (const told of onLocked) told();
  if (wasOpen) $("token").focus();
}

$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  unlock(true);
});

$("lock").addEventListener("click", () => lock("Locked."));

// Whether there is a token may change with the configuration.
onToken.push((now) => {
  $("no-token").hidden = now.token;
  $("unlock").hidden = !now.token;
  $("reload").disabled = !now.file;
  $("reload").title = now.file ? "" : "It runs without a file: there is nothing to read again.";
  if (!now.token && !$("open").hidden) lock("The configuration has no token any more.");
});
