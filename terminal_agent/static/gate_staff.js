// The staff's page goes on with the gate: its numbers are fetched anew when something was decided, and every few seconds.

const EVERY_MS = 5000;
const SOON_MS = 300;
let soon;

async function again() {
  soon = undefined;
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
  const main = document.getElementById("main");
  if (fresh && fresh.textContent !== main.textContent) main.replaceWith(fresh);
}

const later = () => { soon ??= setTimeout(() => again().catch(() => {}), SOON_MS); };
new EventSource("/gate/changes").addEventListener("picture", later);
setInterval(later, EVERY_MS);
