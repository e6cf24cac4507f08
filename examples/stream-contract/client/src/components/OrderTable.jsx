import { useCallback, useEffect, useState } from "react";
import { useNotificationStream } from "../hooks/useNotificationStream.jsx";

const ITEMS = ["Desk lamp", "Bookshelf", "Armchair"];

export default function OrderTable({ session }) {
  const [orders, setOrders] = useState([]);
  const request = useCallback(
    async (path, body) => {
      const headers = { "Content-Type": "application/json", Authorization: `Bearer ${session.token}` };
      const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
      if (!response.ok) throw new Error(`${path}: ${response.status}`);
      return response.json();
    },
    [session],
  );
  const load = useCallback(() => request("/api/orders").then(setOrders).catch(console.error), [request]);
  useEffect(() => void load(), [load]);

  useNotificationStream({
    update: ({ entity, payload }) => {
      if (entity !== "order") return;
      if (payload) setOrders((orders) => [...orders.filter(({ id }) => id !== payload.id), payload]);
      else load();
    },
  });

  return (
    <main>
      <section className="card" id="shop">
        {ITEMS.map((item) => (
          <button key={item} onClick={() => request("/api/orders", { item })}>
            Order {item.toLowerCase()}
          </button>
        ))}
      </section>
      <section className="card">
        <table>
          <thead>
            <tr>
              <th>Order</th>
              <th>Item</th>
              <th>Status</th>
              <th />
            </tr>
          </thead>
          <tbody>
            {[...orders].sort((a, b) => b.id - a.id).map(({ id, item, status }) => (
              <tr key={id}>
                <td>#{id}</td>
                <td>{item}</td>
                <td>{status}</td>
                <td>{status === "new" && <button onClick={() => request(`/api/orders/${id}/ship`, {})}>Ship</button>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </main>
  );
}
