// The national platform's code: asked about every few seconds, drawn again when it is renewed.

const box = document.getElementById("national");

async function ask() {
  try {
    const response = await fetch(`${box.dataset.path}/state`, { headers: { Accept: "application/json" } });
    const now = response.ok ? await response.json() : { state: "" };
    if (now.state !== "code") return location.replace(`${box.dataset.path}?said=${now.state}`);
    const picture = box.querySelector(".oc-qr svg");
    picture.setAttribute("viewBox", `0 0 ${now.size} ${now.size}`);
    picture.querySelector("path").setAttribute("d", now.path);
  } catch {
    // no network: the next try follows
  }
  setTimeout(ask, 1000 * Number(box.dataset.pause));
}

if (box) setTimeout(ask, 1000 * Number(box.dataset.pause));
