// Session cookies as the libraries themselves set them, by their own encode() and their own way to cut a cookie into
// pieces. Takes what is to be made as JSON in its argument and prints JSON: for each, a list of [name, value].
import { encode as v5 } from "@auth/core/jwt";
import { encode as v4 } from "next-auth/jwt";
// Not exported by the packages, but theirs.
import { SessionStore as V5Store } from "./node_modules/@auth/core/lib/utils/cookie.js";
import v4Cookie from "./node_modules/next-auth/core/lib/cookie.js";

const quiet = { debug() {}, warn() {}, error() {} };

async function cookies({ library, name, secret, token, maxAge }) {
  const option = { name, options: {} };
  if (library === "v5") {
    const value = await v5({ token, secret, salt: name, maxAge });
    return new V5Store(option, {}, quiet).chunk(value, {});
  }
  const value = await v4({ token, secret, maxAge });
  return new v4Cookie.SessionStore(option, { cookies: {}, headers: {} }, quiet).chunk(value, {});
}

const made = await Promise.all(JSON.parse(process.argv[2]).map(cookies));
console.log(JSON.stringify(made.map((all) => all.map(({ name, value }) => [name, value]))));
