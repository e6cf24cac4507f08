import { getServerSession } from "next-auth";
import Credentials from "next-auth/providers/credentials";
import { eventManager } from "@/lib/eventManager";
import { store } from "@/lib/store";

/** NextAuth with its session in a cookie, which Sidestream opens with the same NEXTAUTH_SECRET. */
export const authOptions = {
  session: { strategy: "jwt", maxAge: Number(process.env.SESSION_MAX_AGE ?? 30 * 24 * 60 * 60) },
  providers: [
    Credentials({
      credentials: { name: { label: "Name" }, password: { label: "Password", type: "password" } },
      authorize: ({ name, password }) => store.userByPassword(name, password),
    }),
  ],
  callbacks: {
    session: ({ session, token }) => ({ ...session, user: { ...session.user, id: token.sub } }),
  },
  events: {
    // The cookie leaves this browser; its other tabs must not listen on.
    signOut: ({ token }) => eventManager.disconnect(token.sub),
  },
};

/** The id of whoever is signed in, or undefined. */
export async function currentUser() {
  return (await getServerSession(authOptions))?.user.id;
}

/** What an API route answers to a stranger. */
export const unauthorized = () => Response.json({ error: "Unauthorized" }, { status: 401 });
