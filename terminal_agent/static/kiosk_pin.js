// On the kiosk's PIN page: when the machine's screen goes on without it (card pulled, time over, locked), so does this
// page. It reloads nothing else: digits half typed must not be lost to an event that has nothing to do with them.

import { speak } from "./kiosk_voice.js";

const PAUSE = 2000;
const { number, revision } = document.getElementById("main").dataset;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

speak().catch(() => {});
let seen = revision;
for (;;) {
  try {
    const response = await fetch(`/kiosk/changes?seen=${seen}`, { cache: "no-store" });
    if (!response.ok) break;
    const now = await response.json();
    if (String(now.number) !== number) break;
    seen = now.revision;
  } catch {
    await pause(PAUSE); // the agent restarts
  }
}
location.replace("/kiosk");
