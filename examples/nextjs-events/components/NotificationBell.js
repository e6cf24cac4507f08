"use client";

import { useState } from "react";
import { useRealtimeEvents } from "@/hooks/useRealtimeEvents";
import { load, put, send } from "@/lib/api";

export default function NotificationBell() {
  const [notifications, setNotifications] = useState([]);
  const [open, setOpen] = useState(false);
  const unread = notifications.filter(({ read }) => !read).reverse();

  useRealtimeEvents({
    connected: async () => {
      const all = await load("/api/notifications");
      if (all) setNotifications((known) => known.filter(({ id }) => id > (all.at(-1)?.id ?? 0)).reduce(put, all));
    },
    notification: (notification) => setNotifications((known) => put(known, notification)),
  });

  return (
    <div className="bell">
      <button className="bell-button" aria-expanded={open} onClick={() => setOpen(!open)}>
        Notifications {unread.length > 0 && <span className="badge">{unread.length}</span>}
      </button>
      {open && (
        <ul className="bell-list">
          {unread.length === 0 && <li className="quiet">Nothing new</li>}
          {unread.map((notification) => (
            <li key={notification.id}>
              <span>{notification.text}</span>
              <button onClick={() => send(`/api/notifications/${notification.id}`)}>
                {notification.kind === "friend_request" ? "Accept" : "Read"}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
