// The PIN dialog. Digits live in the fields' values alone: never in attributes, storage, addresses or the log.

import { largeTypeSwitch } from "./type.js";

const BOXES = 6;
const SPOKEN_AT = [30, 10];
const at = (id) => document.getElementById(id);
const fields = [...document.querySelectorAll("input[type=password]")];
const { minLength, maxLength } = fields[0];
const words = at("words").dataset;
const timer = at("timer");
const total = Number(timer.dataset.left);
const ends = performance.now() + total * 1000;
let current = fields[0];
let touchedAt = performance.now();

const isFull = (field) => field.value.length >= minLength;
const say = (text, value) => { at("spoken").textContent = text.replace("{value}", value); };

function draw() {
  for (const field of fields) {
    const count = field.value.length;
    const boxes = Array.from({ length: Math.max(BOXES, Math.min(maxLength, count + 1)) }, (_, index) => {
      const box = document.createElement("span");
      box.toggleAttribute("data-on", index < count);
      box.toggleAttribute("data-next", index === count && field === current);
      return box;
    });
    field.nextElementSibling.replaceChildren(...boxes);
  }
  at("confirm").disabled = !isFull(current);
}

function wipe() {
  for (const field of fields) field.value = "";
  current = fields[0];
  draw();
}

function press(key) {
  if (key === "clear") current.value = "";
  else if (key === "back") current.value = current.value.slice(0, -1);
  else if (current.value.length < maxLength) current.value += key;
  touchedAt = performance.now();
  draw();
  say(words.counted, current.value.length);
}

function tick() {
  const now = performance.now();
  const left = Math.max(0, Math.ceil((ends - now) / 1000));
  at("left").textContent = String(left);
  timer.querySelector(".arc").setAttribute("stroke-dashoffset", String(total - left));
  timer.querySelector(".oc-ring").toggleAttribute("data-low", left < 10);
  if (SPOKEN_AT.includes(left)) say(words.remaining, left);
  if (fields.some((field) => field.value) && now - touchedAt > Number(timer.dataset.pause) * 1000) {
    wipe();
    say(words.paused, "");
  }
  if (left === 0) {
    wipe();
    location.replace("/pin/end/expired");
  }
}

for (const field of fields) {
  field.nextElementSibling.hidden = false;
  field.parentElement.dataset.drawn = "";
  field.addEventListener("focus", () => { current = field; draw(); });
  field.addEventListener("input", () => {
    field.value = field.value.replace(/[^0-9]/g, "");
    touchedAt = performance.now();
    draw();
  });
}
for (const button of at("keypad").querySelectorAll("button")) {
  button.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  button.addEventListener("click", () => press(button.dataset.key));
}
at("keypad").hidden = false;
timer.hidden = false;
at("entry").noValidate = true;
at("entry").addEventListener("submit", (event) => {
  const open = fields.find((field) => !isFull(field));
  if (open) {
    event.preventDefault();
    open.focus();
    return;
  }
  setTimeout(wipe); // the browser has taken the form's data by then
});
// A disabled button would keep the enter key from going on to the second field.
for (const field of fields) {
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !isFull(field)) event.preventDefault();
  });
}
addEventListener("pagehide", wipe);
const large = at("large");
if (large) {
  largeTypeSwitch(large);
  large.addEventListener("click", () => current.focus());
}
setInterval(tick, 1000);
draw();
