import { useState } from "react";
import { useNotificationStream } from "../hooks/useNotificationStream.jsx";

const DURATION_MS = 5000;
let count = 0;

export default function NotificationToasts() {
  const [toasts, setToasts] = useState([]);
  useNotificationStream({
    notification: (notification) => {
      const toast = { ...notification, key: ++count };
      setToasts((toasts) => [...toasts, toast]);
      setTimeout(() => setToasts((toasts) => toasts.filter((one) => one !== toast)), toast.duration ?? DURATION_MS);
    },
  });
  return (
    <div id="toasts">
      {toasts.map(({ key, notificationType, title, message }) => (
        <div className={`card toast ${notificationType}`} key={key}>
          {title && <strong>{title}</strong>} {message}
        </div>
      ))}
    </div>
  );
}
