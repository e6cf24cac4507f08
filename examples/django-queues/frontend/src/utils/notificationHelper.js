import { api, currentUser } from "../services/api.js";

/** Notifies a user's tabs on every device. */
export function triggerNotificationUpdate(userId, { title, message, type }) {
  return api("/api/notifications/trigger/", { user_id: userId, title, message, type });
}

/** The notifications that this browser made itself. */
export function localNotifications() {
  return JSON.parse(localStorage.getItem("notifications") ?? "[]");
}

/** Keeps a notification in this browser, and tells all tabs. */
export function addNotification(notification) {
  const { title, message } = notification;
  const added = { id: `local-${Date.now()}`, title, message, created: new Date().toISOString() };
  localStorage.setItem("notifications", JSON.stringify([added, ...localNotifications()]));
  return triggerNotificationUpdate(currentUser().id, notification).catch(console.error);
}
