// The log-in page: the code's seconds, the next code, and on to the site when the phone has answered.

import { fill } from "./draw.js";
import { largeTypeSwitch } from "./type.js";

largeTypeSwitch(document.getElementById("large"));
const box = document.getElementById("log-in");
const timer = document.getElementById("timer");

let isLeaving = false;

// Once: the outcome is handed out to one request, and a second one would cut off the first.
export function again() {
  if (isLeaving) return;
  isLeaving = true;
  location.replace(box.dataset.path);
}

function wait() {
  const events = new EventSource(`${box.dataset.path}/events?stage=${box.dataset.stage}`);
  events.addEventListener("go", () => {
    events.close();
    again();
  });
  box.querySelector("form").addEventListener("submit", () => events.close()); // the form itself leads back
}

let ends = 0;

function begin(seconds, since) {
  ends = since + 1000 * seconds;
  tick();
}

function tick() {
  const left = Math.max(0, Math.ceil((ends - Date.now()) / 1000));
  const ring = timer.querySelector(".oc-ring");
  const arc = ring.querySelector(".arc");
  arc.setAttribute("stroke-dashoffset", Number(arc.getAttribute("pathLength")) - left);
  ring.querySelector("b").textContent = left;
  document.getElementById("left").textContent = fill(box.dataset.left, { seconds: left });
  if (left === 0) renew();
}

async function renew() {
  const asked = Date.now();
  ends = asked + 5000; // the next try, where this one finds no way
  try {
    const response = await fetch(`${box.dataset.path}/link`, { headers: { Accept: "application/json" } });
    if (!response.ok) return again(); // the page says what is wrong
    const next = await response.json();
    const picture = box.querySelector(".oc-qr svg");
    picture.setAttribute("viewBox", `0 0 ${next.size} ${next.size}`);
    picture.querySelector("path").setAttribute("d", next.path);
    document.getElementById("here").href = next.url;
    begin(next.seconds, asked);
  } catch {
    return; // no network: the code on the screen has run out, and the next try follows
  }
}

if (box) wait();
if (timer) {
  begin(Number(timer.dataset.seconds), Date.now());
  setInterval(tick, 1000);
}
