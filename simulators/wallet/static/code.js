// The code on the screen: its seconds, and the next one when they are over. Hidden after five minutes without a touch.

import { fill } from "./draw.js";

const LONGEST_S = 300;

const box = document.getElementById("code");
const show = document.getElementById("show");
const told = document.getElementById("told");
const spoken = document.getElementById("spoken");
const ring = box.querySelector(".oc-ring");
const arc = ring.querySelector(".arc");
const isPayment = box.dataset.scene === "payment";
let shownAt = Date.now();
let ends = 0;
let total = 0;

// `since`: when the code was asked for. Counted from there a slow network shortens its time, and no code that has run
// out is on the screen.
function begin(seconds, since) {
  total = seconds;
  ends = since + 1000 * seconds;
  arc.setAttribute("pathLength", seconds);
  arc.setAttribute("stroke-dasharray", seconds);
  delete box.dataset.hidden;
  show.hidden = true;
  told.hidden = true;
  tick();
}

function tick() {
  if ("hidden" in box.dataset) return;
  const left = Math.max(0, Math.ceil((ends - Date.now()) / 1000));
  arc.setAttribute("stroke-dashoffset", total - left);
  ring.querySelector("b").textContent = left;
  ring.toggleAttribute("data-low", left <= 10);
  document.getElementById("left").textContent = fill(box.dataset.left, { seconds: left });
  if (left === 30 || left === 10) spoken.textContent = box.dataset[String(left)];
  if (left === 0) over();
}

function over() {
  if (isPayment) hide(box.dataset.over);
  else if (Date.now() - shownAt >= 1000 * LONGEST_S) hide(box.dataset.paused);
  else renew();
}

function hide(why) {
  box.dataset.hidden = "";
  document.getElementById("left").textContent = why;
  show.hidden = false;
}

async function renew() {
  box.dataset.hidden = "";
  const asked = Date.now();
  const query = new URLSearchParams({ scene: box.dataset.scene, member: box.dataset.member });
  try {
    const response = await fetch(`/code/next?${query}`, { headers: { Accept: "application/json" } });
    const next = await response.json();
    if (next.go) location.assign(next.go);
    else if (response.ok) draw(next, asked);
    else refuse(next.title, next.remedy);
  } catch {
    location.reload(); // the page says what is wrong, in its language
  }
}

function draw(next, asked) {
  const picture = box.querySelector(".oc-qr svg");
  picture.setAttribute("viewBox", `0 0 ${next.size} ${next.size}`);
  picture.querySelector("path").setAttribute("d", next.path);
  begin(next.seconds, asked);
}

function refuse(title, remedy) {
  hide("");
  told.hidden = false;
  told.setAttribute("role", "alert");
  told.querySelector("strong").textContent = title;
  told.querySelector("span").textContent = remedy;
}

if (!isPayment) {
  show.addEventListener("click", () => {
    shownAt = Date.now();
    renew();
  });
}
document.addEventListener("pointerdown", () => { shownAt = Date.now(); });
// Another window of this phone may have made a newer code meanwhile, which ended this one.
document.addEventListener("visibilitychange", () => {
  tick();
  if (!document.hidden && !isPayment && !("hidden" in box.dataset)) renew();
});
const [loaded] = performance.getEntriesByType("navigation");
begin(Number(box.dataset.seconds), Date.now() - (loaded ? performance.now() - loaded.requestStart : 0));
setInterval(tick, 1000);
