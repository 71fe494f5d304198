// The page follows the machine: it is read again when there is something else to see, and nobody is choosing.

const PAUSE_MS = 1000;
const shown = document.documentElement.dataset.version;

async function look() {
  try {
    const answer = await fetch("/version", { cache: "no-store" });
    const { version } = await answer.json();
    if (version !== shown && document.activeElement?.tagName !== "SELECT") location.replace("/");
  } catch {
    // The stand is ending; the page stays as it is.
  }
}

setInterval(look, PAUSE_MS);
