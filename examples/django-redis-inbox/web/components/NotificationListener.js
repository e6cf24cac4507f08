"use client";

import { useEffect, useState } from "react";

export default function NotificationListener({ token, userId }) {
  const [notifications, setNotifications] = useState([]);

  useEffect(() => {
    // Initialize EventSource with JWT token
    const eventSource = new EventSource(
      `${process.env.NEXT_PUBLIC_API_URL}/api/communication/notifications/sse/?token=${token}`
    );

    eventSource.onmessage = (event) => {
      // console.log('Received SSE event:', event.data);
      try {
        const data = JSON.parse(event.data);
        if (data.message) {
          // console.log('Notification:', data);
          setNotifications((prev) => [...prev, data]);
        } else {
          // console.log('Heartbeat or empty event:', data);
        }
      } catch (e) {
        console.error("Error parsing SSE data:", e);
      }
    };

    eventSource.onerror = (error) => {
      console.error("SSE error:", error);
      eventSource.close();
      // Optional: Reconnect logic
      setTimeout(() => {
        window.location.reload();
      }, 5000);
    };

    eventSource.onopen = () => {
      // console.log('SSE connection established');
    };

    return () => {
      eventSource.close();
      // console.log('SSE connection closed');
    };
  }, [token]);

  return (
    <div className="p-4">
      <h2 className="text-xl font-bold mb-4">Notifications</h2>
      {notifications.length === 0 ? (
        <p>No notifications</p>
      ) : (
        <ul className="space-y-2">
          {notifications.map((notif) => (
            <li key={notif.id} className="p-2 bg-gray-100 rounded">
              {notif.message}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
