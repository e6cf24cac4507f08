import { useState } from "react";
import { useNotificationStream } from "../hooks/useNotificationStream.jsx";

/** Whether the stream is open, and for those who look after the shop, who came last. */
export default function StreamStatus() {
  const [last, setLast] = useState("");
  const state = useNotificationStream({
    "user-action": ({ userId, action }) => setLast(`user ${userId}: ${action}`),
  });
  return (
    <span id="status" className={state}>
      stream {state} <small>{last}</small>
    </span>
  );
}
