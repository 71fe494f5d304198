// Server-sent events of a page. They end with the session; behind the lock screen they wait to be unlocked.

const lock = document.getElementById("lock");
const AGAIN_MS = 10000;

export function follow(path, handlers) {
  const again = () => follow(path, handlers);
  const source = new EventSource(path);
  for (const [name, handler] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => handler(event, source));
  }
  source.addEventListener("over", () => {
    source.close();
    over(again);
  });
  source.addEventListener("error", async () => {
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    const page = await fetch(location.href, { cache: "no-store", redirect: "manual" }).catch(() => undefined);
    if (page?.type === "opaqueredirect") over(again);
    else setTimeout(again, AGAIN_MS);
  });
}

function over(again) {
  if (lock.open) lock.addEventListener("close", again, { once: true });
  else location.reload(); // locked elsewhere or logged out: the page that follows says so
}
