// The item's form: what citizens will see is drawn beside it while somebody types. The server draws it.

const WAIT_MS = 500;
const form = document.getElementById("item");
let timer = 0;
let latest = 0;

async function show() {
  const mine = ++latest;
  const response = await fetch(form.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)) }).catch(() => null);
  if (!response?.ok || response.redirected || mine !== latest) return;
  const drawn = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("preview");
  if (drawn && mine === latest) document.getElementById("preview").replaceWith(document.adoptNode(drawn));
}

form?.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(show, WAIT_MS);
});

// Nothing typed is lost by a wrong click.
let isChanged = false;
form?.addEventListener("input", () => (isChanged = true));
document.addEventListener("submit", () => (isChanged = false));
window.addEventListener("beforeunload", (event) => {
  if (isChanged) event.preventDefault();
});
