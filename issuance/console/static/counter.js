// The counter: follows the reader of this computer, finds the holder of a card, has a card made or written.

import { AgentProblem, findAgent, wordsOf } from "./agent.js";
import { alertStrip, chip, element, fill, icon, stamp } from "./draw.js";
import { nextTrail, sessionView } from "./session.js";

const at = (id) => document.getElementById(id);
const counter = at("counter");
const words = JSON.parse(at("words").dataset.words);
const lang = document.documentElement.dataset.lang;
const mode = counter.dataset.mode;
const order = counter.dataset.order ? JSON.parse(counter.dataset.order) : null;
const STATE_TONES = { EMPTY: "idle", PRESENT: "ok", IN_USE: "info", AWAIT_REMOVAL: "warn", LOST: "bad" };
const DEVICE_TONES = { ready: "ok", attention: "warn", lost: "bad", unknown: "idle" };
const DEVICE_ICONS = { card_printer: "print", pin_pad: "key", id_card_module: "card", qr_scanner: "qr" };
const READER_EVENTS = ["reader_added", "reader_removed", "card_inserted", "card_removed", "service_lost", "service_restored",
  "device_ready", "device_attention", "device_lost", "resync"];
const OVER = ["done", "failed", "cancelled"];

const state = { agent: null, readers: [], job: null, trail: [], busy: false, read: null };

function show({ root, acts = {} }, spoken, handlers = {}) {
  const stage = at("stage");
  const used = stage.contains(document.activeElement) ? document.activeElement.dataset.act : undefined;
  stage.replaceChildren(root);
  if (at("spoken").textContent !== spoken) at("spoken").textContent = spoken;
  for (const [name, button] of Object.entries(acts)) {
    if (handlers[name]) button.addEventListener("click", handlers[name]);
  }
  if (used && acts[used] && !acts[used].hidden) acts[used].focus();
}

function message(id, title, hint, handlers) {
  const view = stamp(id);
  view.fields.title.textContent = title;
  view.fields.hint.textContent = hint;
  show(view, title, handlers);
  return view;
}

function failed(error) {
  state.busy = false;
  if (!(error instanceof AgentProblem)) throw error;
  const view = stamp("t-failure");
  const said = wordsOf(error.problem);
  for (const [name, text] of Object.entries(said)) view.fields[name].textContent = text;
  show(view, said.title, { again: () => { state.read = null; settle(); } });
}

function cardReader() {
  const usable = state.readers.filter((reader) => reader.role === "card" && reader.state !== "LOST");
  return usable.find((reader) => reader.atr !== null) ?? usable[0];
}

// What the stage is about: a running session first, then the card in the reader, then the invitation.
function settle() {
  if (state.busy || (state.job && !OVER.includes(state.job.state))) return;
  const reader = cardReader();
  if (state.job && reader?.atr !== null) return;
  state.job = null;
  if (!reader) message("t-busy", words.no_reader, words.no_reader_hint);
  else if (mode === "find") settleFind(reader);
  else settleOrder(reader);
}

function settleFind(reader) {
  if (reader.atr === null) {
    state.read = null;
    message("t-invite", words.insert, words.insert_hint);
  } else if (state.read !== reader.atr && reader.state === "PRESENT") {
    state.read = reader.atr;
    find(reader).catch(failed);
  }
}

function settleOrder(reader) {
  const isIn = reader.atr !== null;
  const [title, hint] = mode === "make"
    ? (isIn ? [words.blank_ready, words.blank_ready_hint] : [words.insert_blank, words.insert_blank_hint])
    : (isIn ? [words.blank_ready, words.blank_ready_hint] : [words.insert_same, words.insert_same_hint]);
  const more = order.kind === "pin_reset" ? ` ${fill(words.pin_hint, { address: state.agent.base })}` : "";
  const view = message("t-invite", title, hint + more, { begin: () => begin(reader).catch(failed) });
  view.acts.begin.disabled = !isIn;
}

async function find(reader) {
  state.busy = true;
  message("t-busy", words.reading, words.reading_hint);
  const path = `/v1/readers/${encodeURIComponent(reader.name)}/basic-information`;
  const view = await state.agent.post(path, { authenticate: true, masked: false });
  message("t-busy", words.finding, words.reading_hint);
  at("found").elements.card_number.value = view.card_number;
  at("found").submit();
}

async function begin(reader) {
  state.busy = true;
  message("t-busy", words.beginning, words.reading_hint);
  const asked = await fetch(counter.dataset.begin, {
    method: "POST",
    headers: { Accept: "application/json", "X-CSRF-Token": counter.dataset.csrf },
  });
  if (!asked.ok) throw new AgentProblem(await asked.json());
  const started = await state.agent.post("/v1/card-sessions", { ...order, reader: reader.name });
  state.busy = false;
  onJob(await state.agent.get(`/v1/card-sessions/${encodeURIComponent(started.job_id)}`));
}

// Events name no application: one is ours by the job that was started or found here.
function isOurs(job) {
  return state.job?.job_id === job.job_id
    || (order !== null && job.kind === order.kind && (order.application_id ?? null) === job.application_id);
}

function onJob(job) {
  if (!isOurs(job)) return;
  if (!state.job || state.job.job_id !== job.job_id) state.trail = [];
  state.job = job;
  state.trail = nextTrail(state.trail, job, lang);
  const view = sessionView(job, state.trail, words, lang);
  if (job.state === "done") {
    view.root.querySelector("ol").remove(); // every stage is done, the next step matters
    view.root.append(stamp("t-after").root);
  }
  show(view, lang === "zh" ? job.text_zh : job.text_en, { stop: () => state.agent.stop(job.job_id) });
}

function drawDevices(devices) {
  const rows = state.readers.map((reader) => {
    const isPsam = reader.role === "psam";
    return device(isPsam ? "key" : "reader", isPsam ? words.reader_psam : words.reader_card, reader.name,
      STATE_TONES[reader.state], words[`state_${reader.state}`]);
  });
  for (const other of devices.filter((found) => found.kind in DEVICE_ICONS)) {
    rows.push(device(DEVICE_ICONS[other.kind], words[`device_${other.kind}`], other.port, DEVICE_TONES[other.state], words[`state_${other.state}`]));
  }
  at("devices").replaceChildren(...(rows.length ? rows : [element("p", { className: "oc-small oc-muted", text: words.no_reader })]));
}

function device(picture, name, fact, tone, text) {
  return element("div", { className: "oc-status", tone }, icon(picture), element("strong", { text: name }),
    element("span", { text: fact }), chip(tone, text));
}

async function refresh() {
  state.readers = await state.agent.get("/v1/readers");
  drawDevices(await state.agent.get("/v1/devices"));
  settle();
}

function setLive(isLive) {
  at("live").replaceChildren(isLive ? chip("ok", words.live_ok) : chip("warn", words.live_lost));
}

async function opened() {
  setLive(true);
  const info = await state.agent.get("/v1/info");
  for (const id of info.jobs) onJob(await state.agent.get(`/v1/card-sessions/${encodeURIComponent(id)}`));
  await refresh();
}

function follow() {
  const source = state.agent.events();
  source.addEventListener("open", () => opened().catch(() => setLive(false)));
  source.addEventListener("error", () => setLive(false));
  for (const name of READER_EVENTS) source.addEventListener(name, () => refresh().catch(() => setLive(false)));
  for (const name of ["session_progress", "session_done"]) {
    source.addEventListener(name, (event) => onJob(JSON.parse(event.data)));
  }
}

message("t-busy", words.connecting, words.connecting_hint);
state.agent = await findAgent(JSON.parse(counter.dataset.agents));
if (state.agent) {
  follow();
} else {
  at("trouble").append(alertStrip("bad", words.no_agent, fill(words.no_agent_text, { origin: location.origin })));
  at("stage").replaceChildren();
}
