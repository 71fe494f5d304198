// Keeps the dashboard up to date: the service says when numbers moved, the page is then asked for again.

import { follow } from "./live.js";

async function refresh() {
  const response = await fetch(location.href, { cache: "no-store" });
  if (!response.ok || response.redirected) {
    location.reload(); // locked or logged out: the page that follows says so
    return;
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const id of ["live", "as-of"]) {
    const [old, fresh] = [document.getElementById(id), page.getElementById(id)];
    if (fresh && !old.contains(document.activeElement)) old.replaceWith(document.adoptNode(fresh));
  }
}

follow(document.getElementById("live").dataset.events, { changed: refresh });
