"use client";

import { useState } from "react";
import { send } from "@/lib/api";

export default function ApproverGroupForm({ token }) {
  const [name, setName] = useState("");
  const [failed, setFailed] = useState(false);

  async function submit(event) {
    event.preventDefault();
    const group = await send("/api/approval/approver-groups/", { name }, token);
    setFailed(!group);
    if (group) setName("");
  }

  return (
    <form className="group p-4" onSubmit={submit}>
      <input value={name} onChange={(event) => setName(event.target.value)} placeholder="New approver group" required />
      <button>Create</button>
      {failed && <p role="alert">The group was not created.</p>}
    </form>
  );
}
