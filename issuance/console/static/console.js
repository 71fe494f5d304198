// Every console page: the large-type switch, keyboard shortcuts, focus on what went wrong.

import { largeTypeSwitch } from "./type.js";

const GO_MS = 1500;
let wantsLetter = 0;

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input, textarea, select"));
}

function onKey(event) {
  if (event.key === "Enter" && event.ctrlKey && event.target instanceof HTMLElement) {
    event.target.closest("form")?.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || isTyping(event.target)) return;
  if (Date.now() < wantsLetter) {
    wantsLetter = 0;
    document.querySelector(`[data-go="${CSS.escape(event.key)}"]`)?.click();
  } else if (event.key === "/" && document.getElementById("q")) {
    event.preventDefault();
    document.getElementById("q").focus();
  } else if (event.key === "g") {
    wantsLetter = Date.now() + GO_MS;
  } else if (event.key === "?") {
    document.getElementById("keys")?.showModal();
  }
}

largeTypeSwitch(document.getElementById("large"));
document.addEventListener("keydown", onKey);
(document.querySelector("[aria-invalid]") ?? document.getElementById("refusal"))?.focus();
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());
// A form that was sent is not sent again by an impatient second press; one that fetches a file leaves the page as it is.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || "keeps" in event.target.dataset) return;
  for (const button of event.target.querySelectorAll("button[type=submit]")) setTimeout(() => (button.disabled = true));
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of document.querySelectorAll("button[type=submit]")) button.disabled = false;
});
