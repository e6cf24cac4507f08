/** The app: users, orders, and the page. Nothing in here knows of a stream. */

import express from "express";
import jwt from "jsonwebtoken";
import { broadcastNotification, broadcastUpdate, sendCustomEvent } from "./notifications.js";

const { JWT_SECRET, PASSWORD, PAGE = "../client/dist", PORT = 3001, TOKEN_LIFETIME = "1h" } = process.env;

// In place of a database.
const users = [
  { id: "1", name: "alice", channels: ["alerts"] }, // looks after the shop
  { id: "2", name: "bob", channels: [] },
  { id: "3", name: "carol", channels: [] },
];
const orders = [];

const app = express();
app.set("trust proxy", "loopback");
app.use(express.json());
app.use(express.static(PAGE));

app.post("/api/login", (req, res) => {
  const { name, password } = req.body;
  const user = users.find((one) => one.name === name);
  if (!user || password !== PASSWORD) return res.status(401).json({ error: "Unauthorized" });
  const token = jwt.sign({ channels: user.channels }, JWT_SECRET, { subject: user.id, expiresIn: TOKEN_LIFETIME });
  sendCustomEvent("alerts", "user-action", {
    userId: user.id,
    action: "login",
    timestamp: new Date().toISOString(),
    metadata: { ip: req.ip, userAgent: req.get("user-agent") },
  });
  res.json({ token, userId: user.id, name: user.name, channels: user.channels });
});

app.get("/api/orders", authenticate, (req, res) => {
  res.json(orders);
});

app.post("/api/orders", authenticate, (req, res) => {
  const order = { id: 12345 + orders.length, userId: req.userId, item: req.body.item, status: "new" };
  orders.push(order);

  // Broadcast notification
  broadcastNotification({
    type: "notification",
    notificationType: "success",
    title: "New Order",
    message: `Order #${order.id} has been created`,
  });

  // Broadcast data update
  broadcastUpdate("order", "created", order);

  res.json(order);
});

app.post("/api/orders/:id/ship", authenticate, (req, res) => {
  const order = orders.find(({ id }) => id === Number(req.params.id));
  if (!order) return res.status(404).json({ error: "Not found" });
  order.status = "shipped";

  const message = `Your order #${order.id} has been shipped`;
  const notification = { type: "notification", notificationType: "success", title: "Order Completed", message };
  broadcastNotification(notification, order.userId);
  broadcastUpdate("order", "updated", order);

  res.json(order);
});

app.listen(PORT, "127.0.0.1");

function authenticate(req, res, next) {
  try {
    req.userId = jwt.verify(req.get("authorization")?.replace("Bearer ", ""), JWT_SECRET, { algorithms: ["HS256"] }).sub;
  } catch {
    return res.status(401).json({ error: "Unauthorized" });
  }
  next();
}
