import { useEffect, useState } from "react";
import NotificationToasts from "./components/NotificationToasts.jsx";
import OrderTable from "./components/OrderTable.jsx";
import StreamStatus from "./components/StreamStatus.jsx";
import SignIn from "./SignIn.jsx";
import { NotificationStream } from "./hooks/useNotificationStream.jsx";

const stored = () => JSON.parse(localStorage.getItem("session"));

export default function App() {
  const [session, setSession] = useState(stored);
  useEffect(() => {
    const onStorage = () => setSession(stored()); // another tab has signed in or out
    window.addEventListener("storage", onStorage);
    return () => window.removeEventListener("storage", onStorage);
  }, []);
  const signIn = (session) => {
    localStorage.setItem("session", JSON.stringify(session));
    setSession(session);
  };
  const signOut = () => {
    localStorage.removeItem("session");
    setSession(null);
  };
  if (!session) return <SignIn onSignIn={signIn} />;
  return (
    <NotificationStream session={session} onUnauthorized={signOut}>
      <header>
        <h1>Orders</h1>
        <StreamStatus />
        <span>{session.name}</span>
        <button id="sign-out" onClick={signOut}>
          Sign out
        </button>
      </header>
      <OrderTable session={session} />
      <NotificationToasts />
    </NotificationStream>
  );
}
