// The agent's page: follows readers and card sessions by events, reads a card when it comes, forgets it when it goes.

import { alertStrip, chip, fill } from "./draw.js";
import { followCatalog } from "./catalog.js";
import { followJournal } from "./journal.js";
import { followLock } from "./lock.js";
import { nextTrail, sessionView } from "./session.js";
import { largeTypeSwitch } from "./type.js";
import { drawDevices, drawEvents, failureView, holderView, lang, messageView, pairingPrompt, pinPrompt, words } from "./view.js";

const MAX_EVENTS = 6;
const REVEAL_MS = 30000;
const TONES = {
  reader_added: "info", reader_removed: "bad", card_inserted: "ok", card_removed: "idle",
  service_lost: "bad", service_restored: "ok", device_lost: "bad", device_ready: "ok",
  device_attention: "warn",
};

const at = (id) => document.getElementById(id);
const state = { readers: [], devices: [], reader: null, job: null, trail: [], events: [], isLocked: false, turn: 0, pinTurn: 0, revealTimer: 0 };

async function call(method, path, body) {
  const response = await fetch(path, {
    method, cache: "no-store",
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.code ?? String(response.status)), { problem: answer });
  return answer;
}

// `spoken` is what a screen reader hears; it never holds personal data. The focus stays on the button just used.
function show({ root, acts }, spoken, note = "") {
  const used = at("stage").contains(document.activeElement) ? document.activeElement.dataset.act : undefined;
  at("stage").replaceChildren(root);
  if (at("spoken").textContent !== spoken) at("spoken").textContent = spoken;
  at("stage-note").textContent = note;
  for (const [name, button] of Object.entries(acts)) button.addEventListener("click", () => actions[name]());
  if (used && acts[used]) acts[used].focus();
}

const actions = {
  again: () => read(false),
  reveal: () => (state.revealTimer ? read(false, true) : read(true)),
  stop: async () => {
    if (state.job) await call("DELETE", `/v1/card-sessions/${encodeURIComponent(state.job.job_id)}`);
  },
};

function showIdle() {
  clearTimeout(state.revealTimer);
  state.revealTimer = 0;
  if (state.isLocked) {
    show(messageView("t-locked"), words.locked_title);
    return;
  }
  const hasReader = state.readers.some((reader) => reader.role === "card" && reader.state !== "LOST");
  const [title, hint] = hasReader ? [words.insert, words.insert_hint] : [words.no_reader, words.no_reader_hint];
  show(messageView("t-idle", title, hint), title);
}

async function read(isRevealed, isQuiet = isRevealed) {
  const turn = ++state.turn;
  clearTimeout(state.revealTimer);
  state.revealTimer = 0;
  if (!isQuiet) show(messageView("t-reading"), words.reading);
  try {
    const path = `/v1/readers/${encodeURIComponent(state.reader)}/basic-information`;
    const view = await call("POST", path, { authenticate: true, masked: !isRevealed });
    if (turn !== state.turn) return;
    show(holderView(view, isRevealed), words.read_done, fill(words.read_facts, { ms: Math.round(view.ms), apdus: view.apdus }));
    if (isRevealed) state.revealTimer = setTimeout(() => read(false, true), REVEAL_MS);
  } catch (error) {
    if (turn !== state.turn) return;
    const problem = error.problem ?? { title: words.offline_title, title_en: words.offline_title };
    show(failureView(problem), (lang === "zh" ? problem.title : problem.title_en) ?? words.failed);
  }
}

// What the main panel is about: a running session first, then a card, then the invitation.
function settle() {
  if (state.job && !state.job.finished_at) return;
  const current = state.readers.find((reader) => reader.name === state.reader);
  if (state.job && current && current.atr !== null && state.job.reader === current.name) return;
  state.job = null;
  if (current && current.atr !== null && current.state !== "LOST") return;
  state.turn += 1;
  const other = state.readers.find((reader) => reader.role === "card" && reader.atr !== null && reader.state !== "LOST");
  state.reader = other ? other.name : null;
  if (other && other.state !== "IN_USE") read(false);
  else showIdle();
}

function remember(tone, text, fact) {
  state.events.unshift({ at: new Date(), tone, text, fact });
  state.events.length = Math.min(state.events.length, MAX_EVENTS);
  drawEvents(at("events"), at("no-events"), state.events);
}

async function refresh() {
  state.readers = await call("GET", "/v1/readers");
  state.devices = await call("GET", "/v1/devices");
  drawDevices(at("devices"), state.readers, state.devices);
}

async function onReaderEvent(name, data) {
  remember(TONES[name], words[`event_${name}`], data.reader ?? words[`fix_${data.failure}`] ?? words[`device_${data.kind}`]);
  await refresh();
  if (name === "card_inserted" && data.role === "card" && !(state.job && !state.job.finished_at)) {
    state.job = null;
    state.reader = data.reader;
    read(false);
  } else {
    settle();
  }
}

function onProgress(job) {
  const isNew = !state.job || state.job.job_id !== job.job_id;
  if (isNew) {
    state.trail = [];
    state.turn += 1;
    state.reader = job.reader;
    remember("info", words.event_session_start, job.reader);
    refresh();
  }
  state.job = job;
  const text = lang === "zh" ? job.text_zh : job.text_en;
  state.trail = nextTrail(state.trail, job, lang);
  show(sessionView(job, state.trail, words, lang), text);
}

async function onDone(job) {
  onProgress(job);
  const isGood = job.state === "done";
  remember(isGood ? "ok" : "bad", isGood ? words.event_session_done : words.event_session_failed, job.reader);
  await refresh();
}

function setLive(isLive) {
  at("live").replaceChildren(isLive ? chip("ok", words.live_ok) : chip("warn", words.live_lost));
  at("alerts").replaceChildren(...(isLive ? [] : [alertStrip("bad", words.offline_title, words.offline_text)]));
}

function askForPin(isWanted) {
  state.pinTurn += 1;
  at("pin-wanted").replaceChildren(...(isWanted ? [pinPrompt()] : []));
}

function askToPair(origin) {
  at("pairing-wanted").replaceChildren(...(origin === null ? [] : [pairingPrompt(origin)]));
}

async function begin() {
  const pinTurn = state.pinTurn;
  const info = await call("GET", "/v1/info");
  at("terminal").textContent = `${info.device_number} · ${info.terminal_number ?? words.no_terminal_number}`;
  askToPair(info.is_pairing_wanted ? "" : null);
  if (pinTurn === state.pinTurn) askForPin(info.is_pin_wanted); // else an event was newer
  await refresh();
  for (const id of info.jobs) onProgress(await call("GET", `/v1/card-sessions/${encodeURIComponent(id)}`));
  settle();
}

function follow() {
  const source = new EventSource("/v1/events");
  followCatalog(source);
  followJournal(source);
  followLock(source, (isLocked) => {
    state.isLocked = isLocked;
    settle();
  });
  source.addEventListener("open", () => {
    setLive(true);
    begin().catch(() => setLive(false));
  });
  source.addEventListener("error", () => setLive(false));
  for (const name of Object.keys(TONES)) {
    source.addEventListener(name, (event) => onReaderEvent(name, JSON.parse(event.data)).catch(() => setLive(false)));
  }
  source.addEventListener("pin_wanted", () => askForPin(true));
  source.addEventListener("pairing_wanted", (event) => askToPair(JSON.parse(event.data).origin));
  source.addEventListener("pairing_over", () => askToPair(null));
  source.addEventListener("lease_changed", () => refresh().then(settle).catch(() => setLive(false)));
  source.addEventListener("pin_over", () => askForPin(false));
  source.addEventListener("session_progress", (event) => onProgress(JSON.parse(event.data)));
  source.addEventListener("session_done", (event) => onDone(JSON.parse(event.data)).catch(() => setLive(false)));
}

largeTypeSwitch(at("large"));

follow();
