// Whether the centre took this terminal out of use, why, and whom to call.

import { alertStrip, fill } from "./draw.js";
import { words } from "./view.js";

const EVENTS = ["open", "terminal_locked", "terminal_unlocked"];

function draw(lock) {
  const strips = lock === null ? [] : [alertStrip("bad", words.locked_title, fill(words.locked_text, lock))];
  document.getElementById("locked").replaceChildren(...strips);
}

// `told` hears whether card work is refused.
export function followLock(source, told) {
  const again = async () => {
    const answer = await fetch("/v1/info", { cache: "no-store" });
    if (!answer.ok) return;
    const { lock } = await answer.json();
    draw(lock);
    told(lock !== null);
  };
  // The page itself tells that the agent is gone.
  for (const name of EVENTS) source.addEventListener(name, () => again().catch(() => {}));
}
