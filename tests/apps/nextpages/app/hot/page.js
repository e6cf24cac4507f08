"use client";

// The tests write another word here while the page is open.
const WORD = "before";

export default function Page() {
  return <output id="word">{WORD}</output>;
}
