import { API_URL } from "./api.js";

const RECONNECT_MS = 5000;

/** The one connection of a tab, and who wants to hear of it. */
class SSEManager {
  constructor() {
    this.eventSource = null;
    this.listeners = new Set();
    this.reconnectTimeout = null;
  }

  connect(userId) {
    this.disconnect();
    const token = localStorage.getItem("token");
    if (!token) return;
    this.eventSource = new EventSource(`${API_URL}/api/notifications/sse/?token=${encodeURIComponent(token)}`);
    this.eventSource.onmessage = (event) => {
      const data = JSON.parse(event.data);
      if (data.type !== "ping") this.notifyListeners(data);
    };
    this.eventSource.onerror = () => {
      console.log("Connection lost, reconnecting in 5s...");
      this.disconnect();
      this.reconnectTimeout = setTimeout(() => this.connect(userId), RECONNECT_MS);
    };
  }

  disconnect() {
    this.eventSource?.close();
    this.eventSource = null;
    clearTimeout(this.reconnectTimeout);
    this.reconnectTimeout = null;
  }

  addListener(callback) {
    this.listeners.add(callback);
  }

  removeListener(callback) {
    this.listeners.delete(callback);
  }

  notifyListeners(data) {
    this.listeners.forEach((callback) => callback(data));
  }
}

const sseManager = new SSEManager();
window.sseManager = sseManager; // to look at in the console
export default sseManager;
