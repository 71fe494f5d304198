// After the PIN: on to the next one a program waits for, else back to the agent's page.

import { largeTypeSwitch } from "./type.js";

const BACK_MS = 1500;

async function goOn() {
  const info = await (await fetch("/v1/info", { cache: "no-store" })).json();
  location.replace(info.is_pin_wanted ? "/pin" : "/");
}

largeTypeSwitch(document.getElementById("large"));
if (["sent", "cancelled"].includes(document.body.dataset.end)) setTimeout(() => goOn().catch(() => {}), BACK_MS);
