// Drawing for the agent's page.

import { alertStrip, chip, element, fill, icon, stamp } from "./draw.js";

export const words = JSON.parse(document.getElementById("words").dataset.words);
export const lang = document.documentElement.dataset.lang;

const ART_NAME_WIDTH = 172; // between the label and the photo of the drawn card, in its own units
const ART_GLYPH_WIDTH = 17;

// A program waits for the holder's PIN: the way to the dialog, which is a page of its own.
export function pinPrompt() {
  const strip = alertStrip("warn", words.pin_prompt, words.pin_prompt_hint);
  const link = element("a", { className: "btn btn-primary", text: words.pin_prompt_action });
  link.href = "/pin";
  strip.append(link);
  return strip;
}

// A page asks to be paired: the way to the person's answer.
export function pairingPrompt(origin) {
  const strip = alertStrip("warn", words.pair_prompt, origin);
  const link = element("a", { className: "btn btn-primary", text: words.pair_prompt_action });
  link.href = "/pair";
  strip.append(link);
  return strip;
}

// What a reader is, or who has it now.
function readerFact(reader) {
  if (reader.holder) return fill(words.used_by, { owner: reader.holder.origin ?? reader.holder.owner });
  return reader.role === "psam" ? words.fact_psam : reader.is_contactless ? words.fact_contactless : words.fact_contact;
}

export function date(digits) {
  return /^\d{8}$/.test(digits) ? `${digits.slice(0, 4)}-${digits.slice(4, 6)}-${digits.slice(6)}` : digits;
}

const STATE_TONES = { EMPTY: "idle", PRESENT: "ok", IN_USE: "info", AWAIT_REMOVAL: "warn", LOST: "bad" };

const DEVICE_ICONS = { id_card_module: "card", qr_scanner: "qr", pin_pad: "key", card_printer: "card", receipt_printer: "print", camera: "eye" };
const DEVICE_TONES = { ready: "ok", attention: "warn", lost: "bad", unknown: "idle" };

export function drawDevices(into, readers, devices) {
  into.replaceChildren();
  for (const reader of readers) {
    const tone = STATE_TONES[reader.state];
    into.append(
      element("div", { className: "oc-status", tone }, icon(reader.role === "psam" ? "key" : "reader"),
        element("strong", { text: reader.name }), element("span", { text: readerFact(reader) }), chip(tone, words[`state_${reader.state}`])),
    );
  }
  for (const device of devices.filter((other) => other.kind in DEVICE_ICONS)) {
    const tone = DEVICE_TONES[device.state];
    into.append(
      element("div", { className: "oc-status", tone }, icon(DEVICE_ICONS[device.kind]),
        element("strong", { text: words[`device_${device.kind}`] }), element("span", { text: words[`fix_${device.failure}`] ?? device.port }),
        chip(tone, words[`state_${device.state}`])),
    );
  }
  if (!readers.length) into.append(element("p", { className: "oc-small oc-muted", text: words.no_reader }));
}

export function drawEvents(into, empty, events) {
  into.replaceChildren();
  empty.hidden = events.length > 0;
  for (const event of events) {
    const at = element("time", { text: event.at.toLocaleTimeString("zh-CN", { hour12: false, hour: "2-digit", minute: "2-digit" }) });
    at.dateTime = event.at.toISOString();
    into.append(element("li", { tone: event.tone }, at, element("div", { text: event.text }, element("small", { text: event.fact }))));
  }
}

// What the block list says of a card that cannot just be used.
function blockStrip(block) {
  const [title, ...rest] = block.texts.map((text) => text[lang]);
  return alertStrip(block.action === "refuse" ? "bad" : "warn", title, rest.join(lang === "zh" ? "。" : ". "));
}

export function holderView(view, isRevealed) {
  const { fields, acts, root } = stamp("t-holder");
  const generation = words[`generation_${String(view.generation).slice(0, 1)}`] ?? "";
  const values = {
    name: view.name, number: view.social_security_number, card_number: view.card_number, region: view.region,
    issued: date(view.issue_date), expires: date(view.expiry_date), version: `${view.version} ${generation}`,
    art_name: view.name, art_number: view.social_security_number, art_card: view.card_number,
  };
  for (const [name, value] of Object.entries(values)) fields[name].textContent = value;
  if (view.name.length * ART_GLYPH_WIDTH > ART_NAME_WIDTH) {
    fields.art_name.setAttribute("textLength", String(ART_NAME_WIDTH));
    fields.art_name.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
  fields.chips.append(view.genuine ? chip("ok", words.genuine) : chip("idle", words.not_checked));
  const today = new Date();
  const stampToday = today.getFullYear() * 10000 + (today.getMonth() + 1) * 100 + today.getDate();
  if (/^\d{8}$/.test(view.expiry_date) && Number(view.expiry_date) < stampToday) fields.chips.append(chip("warn", words.expired));
  if (view.block && view.block.action !== "accept") fields.block.append(blockStrip(view.block));
  if (fields.reveal) fields.reveal.textContent = isRevealed ? words.hide : words.reveal;
  return { root, acts };
}

export function failureView(problem) {
  const { fields, acts, root } = stamp("t-failure");
  fields.title.textContent = (lang === "zh" ? problem.title : problem.title_en) || words.failed;
  fields.cause.textContent = (lang === "zh" ? problem.cause_zh : problem.cause_en) ?? "";
  fields.remedy.textContent = (lang === "zh" ? problem.remedy_zh : problem.remedy_en) ?? "";
  fields.code.textContent = problem.code ?? "";
  return { root, acts };
}

export function messageView(id, title, hint) {
  const { fields, root } = stamp(id);
  if (fields.title) fields.title.textContent = title;
  if (fields.hint) fields.hint.textContent = hint;
  return { root, acts: {} };
}
