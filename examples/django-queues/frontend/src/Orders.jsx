import { useCallback, useEffect, useState } from "react";
import { api } from "./services/api.js";
import { addNotification } from "./utils/notificationHelper.js";

const ITEMS = ["Teapot", "Kettle", "Cup and saucer"];

export default function Orders() {
  const [orders, setOrders] = useState([]);
  const load = useCallback(() => api("/api/orders/").then(setOrders).catch(console.error), []);
  useEffect(() => void load(), [load]);

  const order = (item) => api("/api/orders/", { item }).then(load).catch(console.error);
  const note = (event) => {
    event.preventDefault();
    const message = new FormData(event.target).get("message");
    addNotification({ title: "Note to myself", message, type: "info" });
    event.target.reset();
  };
  return (
    <main>
      <section className="card" id="shop">
        <h2>Order</h2>
        {ITEMS.map((item) => (
          <button key={item} onClick={() => order(item)}>
            {item}
          </button>
        ))}
        <h2>Note to all my tabs</h2>
        <form onSubmit={note} id="note">
          <input name="message" placeholder="Do not forget …" required />
          <button>Send</button>
        </form>
      </section>
      <section className="card">
        <h2>My orders</h2>
        <ul id="orders">
          {orders.map(({ id, item }) => (
            <li key={id}>
              #{id} {item}
            </li>
          ))}
        </ul>
      </section>
    </main>
  );
}
