"use client";

import { useSyncExternalStore } from "react";
import ApproverGroupForm from "@/components/ApproverGroupForm";
import NotificationListener from "@/components/NotificationListener";
import SignIn from "@/components/SignIn";
import { setToken, storedToken, userOf, whenTokenChanges } from "@/lib/session";

export default function NotificationsPage() {
  const token = useSyncExternalStore(whenTokenChanges, storedToken, () => undefined);
  if (token === undefined) return null; // on the server, which knows no token
  if (token === null) return <SignIn />;
  return (
    <div className="page">
      <header>
        <h1 className="text-2xl font-bold p-4">Your Notifications</h1>
        <button id="sign-out" onClick={() => setToken(null)}>
          Sign out
        </button>
      </header>
      <ApproverGroupForm token={token} />
      <NotificationListener token={token} userId={userOf(token)} />
    </div>
  );
}
