// The kiosk's screen in the browser. The server decides everything; this only keeps the page as it is there, without a
// flash and without history, speaks, beeps, and makes keys do what touches do. Without it the same pages work by hand.

import { beep, speak } from "./kiosk_voice.js";

const POLL_PAUSE = 500;
const ALIVE_EVERY = 5000;
const RING_SPOKEN_AT = [30, 10];
const BEEP_EVERY = 2500;
const STAFF_LOG_IN = 60000;
const STAFF_LOOK = 10000;
const SAID_AFTER = 200;
const CLOCK = { timeZone: "Asia/Shanghai", hourCycle: "h23", hour: "2-digit", minute: "2-digit" };
const main = () => document.getElementById("main");
const state = { sending: "", beeper: 0, ringer: 0, reloader: 0, aliveAt: 0, typed: {} };

// -- the page as the server has it -------------------------------------------------------------------------------

async function refresh() {
  const response = await fetch("/kiosk", { redirect: "manual", cache: "no-store" });
  if (response.type === "opaqueredirect") {
    location.replace("/kiosk");
    return;
  }
  if (!response.headers.get("content-type")?.startsWith("text/html")) {
    await pause(POLL_PAUSE * 4); // not a page of ours; the next look may bring one
    return;
  }
  swap(new DOMParser().parseFromString(await response.text(), "text/html"));
}

function swap(page) {
  const before = main();
  const after = page.getElementById("main");
  const isSame = before.dataset.screen === after.dataset.screen && before.dataset.number === after.dataset.number;
  // The answer to a button and the word of a change bring the same page twice: the focus stays where it is then.
  if (isSame && ["revision", "lang"].every((part) => before.dataset[part] === after.dataset[part])) return;
  // The question whether somebody is there has the number of the screen it stands over: what was typed is kept for that.
  state.typed = before.dataset.number === after.dataset.number ? { ...state.typed, ...typed() } : {};
  const heard = told();
  const held = isSame ? mark(document.activeElement) : "";
  for (const name of ["lang", "data-type"]) document.documentElement.setAttribute(name, page.documentElement.getAttribute(name));
  document.title = page.title;
  document.body.dataset.voice = page.body.dataset.voice;
  document.querySelector(".oc-kiosk").replaceWith(document.adoptNode(page.querySelector(".oc-kiosk")));
  for (const [name, value] of Object.entries(state.typed)) {
    const field = document.querySelector(`input[name="${name}"]:not([type=hidden])`);
    if (field) field.value = value;
  }
  arrive(isSame && before.dataset.lang === after.dataset.lang);
  const again = held && (document.querySelector(held) ?? document.querySelector(answerOf(held)));
  if (again) again.focus();
  else if (!isSame || held) document.querySelector("[role=alert] h1, h1")?.focus({ preventScroll: true });
  const news = isSame ? told().filter((text, place) => text && text !== heard[place]) : [];
  if (news.length) setTimeout(() => say(news.join(" ")), SAID_AFTER);
}

/** What of a screen may change while it stands there. */
const told = () => ["main h1", ".kiosk-help"].map((part) => document.querySelector(part)?.innerText.trim() ?? "");
/** Where calling staff was pressed stands not calling them, and the other way round. */
const answerOf = (held) => (held.includes('"help"') ? held.replace('"help"', '"unhelp"') : held.replace('"unhelp"', '"help"'));
/** To a screen reader: a region hears only what changes after it has come. */
const say = (text) => { document.getElementById("spoken").textContent = text; };

function typed() {
  const fields = main().querySelectorAll("input:not([type=hidden])");
  return Object.fromEntries([...fields].map((field) => [field.name, field.value]));
}

function mark(focused) {
  if (!focused?.name) return "";
  return focused.value && focused.tagName === "BUTTON" ? `button[name="${focused.name}"][value="${focused.value}"]` : `[name="${focused.name}"]`;
}

async function follow() {
  for (;;) {
    try {
      const response = await fetch(`/kiosk/changes?seen=${main().dataset.revision}`, { cache: "no-store" });
      if (!response.ok) {
        await pause(POLL_PAUSE * 4);
        await refresh();
      } else if (String((await response.json()).revision) !== main().dataset.revision) {
        await refresh();
      }
    } catch {
      await pause(POLL_PAUSE * 4); // the agent restarts; the page stays as it is until it is back
    }
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function send(form, button) {
  const what = `${main().dataset.number} ${main().dataset.screen} ${button?.name} ${button?.value}`;
  if (state.sending === what) return; // a second tap; one on the screen that came meanwhile is none
  state.sending = what;
  try {
    const body = new URLSearchParams(new FormData(form, button?.form === form ? button : undefined));
    await fetch(form.action, { method: "POST", body, redirect: "manual" });
    await refresh();
  } catch {
    await pause(POLL_PAUSE);
  } finally {
    if (state.sending === what) state.sending = "";
  }
}

// -- what comes with a screen ------------------------------------------------------------------------------------

function arrive(isSame) {
  const lead = document.querySelector("main h1 ~ .oc-lead");
  if (lead) {
    lead.id = "lead";
    document.querySelector("main h1").setAttribute("aria-describedby", lead.id); // heard with the heading when the screen comes
  }
  const keypad = document.getElementById("keypad");
  if (keypad) keypad.hidden = false;
  clearInterval(state.beeper);
  const beeps = Number(main().dataset.beeps);
  if (beeps) {
    if (!isSame) beep(beeps);
    if (["take_card", "card_gone", "still_there"].includes(main().dataset.screen)) state.beeper = setInterval(() => beep(beeps), BEEP_EVERY);
  }
  ring(isSame);
  if (!isSame) speak();
}

function ring(isSame) {
  const total = Number(main().dataset.ring || 0);
  if (!isSame) state.endsAt = performance.now() + total * 1000;
  clearInterval(state.ringer);
  if (!total || !document.getElementById("left")) return;
  const tick = () => {
    const left = Math.max(0, Math.ceil((state.endsAt - performance.now()) / 1000));
    document.getElementById("left").textContent = String(left);
    document.querySelector(".oc-ring .arc").setAttribute("stroke-dashoffset", String(total - left));
    document.querySelector(".oc-ring").toggleAttribute("data-low", left < 10);
    if (RING_SPOKEN_AT.includes(left)) say(String(left));
  };
  tick();
  state.ringer = setInterval(tick, 1000);
}

// -- touches and keys --------------------------------------------------------------------------------------------

function press(key) {
  const field = document.getElementById("entry");
  if (key === "clear") field.value = "";
  else if (key === "back") field.value = field.value.slice(0, -1);
  else if (field.value.length < field.maxLength) field.value += key;
  say(field.type === "password" ? String(field.value.length) : field.value.split("").join(" "));
}

function alive() {
  if (performance.now() - state.aliveAt < ALIVE_EVERY) return;
  state.aliveAt = performance.now();
  fetch("/kiosk/tool", { method: "POST", body: new URLSearchParams({ tool: "alive" }), redirect: "manual" }).catch(() => {});
}

const acts = () => [...main().querySelectorAll("button[name=act]:not([tabindex='-1'])")];

function key(event) {
  alive();
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const field = document.getElementById("entry");
  if (event.repeat && (["Enter", " ", "Escape"].includes(event.key) || (!field && /^[1-9]$/.test(event.key)))) {
    event.preventDefault(); // a key that is held, or lain upon, answers one screen and not the next ones
  } else if (event.key === "Escape") {
    document.querySelector(".oc-dock [value=back], .oc-dock [value=leave], main [value=leave]")?.click();
  } else if (event.key === "Enter" && (event.target === field || event.target.tagName === "H1" || event.target === document.body)) {
    event.preventDefault();
    (main().querySelector(".btn-primary") ?? acts()[0])?.click();
  } else if (field && event.target !== field && /^[0-9]$/.test(event.key)) {
    press(event.key);
  } else if (!field && /^[1-9]$/.test(event.key) && event.target.tagName !== "INPUT") {
    acts()[Number(event.key) - 1]?.click();
  }
}

document.addEventListener("submit", (event) => {
  clearTimeout(state.reloader);
  if (!["act", "tool"].includes(event.target.id)) return;
  event.preventDefault();
  send(event.target, event.submitter);
});
document.addEventListener("pointerdown", (event) => {
  alive();
  if (event.target.closest("[data-key]")) event.preventDefault(); // the field keeps the focus
});
document.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-key]");
  if (event.detail > 1 && !pressed) event.preventDefault(); // the second tap of a double tap meant the screen before
  if (pressed && document.getElementById("entry")) press(pressed.dataset.key);
});
document.addEventListener("keydown", key);
document.addEventListener("contextmenu", (event) => event.preventDefault());
setInterval(() => {
  const clock = document.getElementById("clock");
  if (clock) clock.textContent = new Date().toLocaleTimeString("zh-CN", CLOCK);
}, 5000);

if (main() && document.getElementById("act")) {
  arrive(false);
  document.querySelector("h1")?.focus({ preventScroll: true });
  if (!main().dataset.screen.startsWith("staff")) follow();
  else if (main().dataset.screen === "staff") state.reloader = setTimeout(() => location.reload(), STAFF_LOOK);
  else state.reloader = setTimeout(() => location.replace("/kiosk"), STAFF_LOG_IN);
}
