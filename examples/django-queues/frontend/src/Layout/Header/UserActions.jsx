import { useCallback, useEffect, useState } from "react";
import { api } from "../../services/api.js";
import sseManager from "../../services/sseService.js";
import { localNotifications } from "../../utils/notificationHelper.js";

const TOAST_MS = 4000;

export default function UserActions({ userId, name, onSignOut }) {
  const [notifications, setNotifications] = useState([]);
  const [toasts, setToasts] = useState([]);
  const [open, setOpen] = useState(false);

  const fetchNotifications = useCallback(async () => {
    try {
      const stored = await api("/api/notifications/");
      const all = [...stored, ...localNotifications()].sort((a, b) => b.created.localeCompare(a.created));
      setNotifications(all.map((one) => ({ ...one, read: Boolean(localStorage.getItem(`notif_read_${one.id}`)) })));
    } catch (error) {
      if (error.status === 401) onSignOut();
    }
  }, [userId]);

  const handleSSEUpdate = useCallback(
    (data) => {
      if (data.type === "notification") {
        setToasts((toasts) => [...toasts, data]);
        setTimeout(() => setToasts((toasts) => toasts.filter((toast) => toast !== data)), TOAST_MS);
      }
      fetchNotifications();
    },
    [fetchNotifications],
  );

  useEffect(() => {
    // 1. Initial load
    fetchNotifications();

    // 2. Connect SSE
    if (userId) {
      sseManager.connect(userId);
      sseManager.addListener(handleSSEUpdate);
    }

    // 3. Fallback: Window focus
    const onFocus = () => fetchNotifications();
    window.addEventListener("focus", onFocus);

    // 4. Fallback: Storage events (multi-tab)
    const onStorage = () => fetchNotifications();
    window.addEventListener("storage", onStorage);

    // 5. Cleanup
    return () => {
      sseManager.removeListener(handleSSEUpdate);
      sseManager.disconnect();
      window.removeEventListener("focus", onFocus);
      window.removeEventListener("storage", onStorage);
    };
  }, [userId]);

  const markRead = (id) => {
    localStorage.setItem(`notif_read_${id}`, "true");
    fetchNotifications();
  };
  const unread = notifications.filter(({ read }) => !read).length;

  return (
    <div className="user-actions">
      <button className="bell" onClick={() => setOpen(!open)} aria-label="Notifications">
        <svg viewBox="0 0 24 24" width="24" height="24" fill="currentColor">
          <path d="M12 2a6 6 0 0 0-6 6c0 6-2 8-3 9h18c-1-1-3-3-3-9a6 6 0 0 0-6-6zM9.5 19a2.5 2.5 0 0 0 5 0z" />
        </svg>
        {unread > 0 && <span className="badge">{unread}</span>}
      </button>
      <span>{name}</span>
      <button id="sign-out" onClick={onSignOut}>
        Sign out
      </button>
      {open && (
        <ul className="card notifications">
          {notifications.length === 0 && <li>Nothing yet.</li>}
          {notifications.map(({ id, title, message, read }) => (
            <li key={id} className={read ? "read" : ""} onClick={() => markRead(id)}>
              <strong>{title}</strong> {message}
            </li>
          ))}
        </ul>
      )}
      <div className="toasts">
        {toasts.map((data, index) => (
          <div className="card toast" key={index}>
            <strong>{data.title}</strong> {data.message}
          </div>
        ))}
      </div>
    </div>
  );
}
