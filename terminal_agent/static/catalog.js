// How old catalog and block list of this terminal are, and what is wrong with them.

import { alertStrip, chip, element, fill, icon } from "./draw.js";
import { lang, words } from "./view.js";

const EVENTS = ["open", "catalog_updated", "catalog_alarm", "catalog_cleared"];
const AGAIN_MS = 60000;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const FRESH = { fresh: ["ok", words.catalog_fresh], due: ["warn", words.catalog_due], too_old: ["bad", words.catalog_too_old] };
const UPDATES = { available: ["warn", words.update_available], required: ["bad", words.update_required] };
const OFFLINE = "SERVICE_UNREACHABLE"; // what is held counts on; the row says so

const at = (id) => document.getElementById(id);

function age(seconds) {
  if (seconds < MINUTE) return words.catalog_age_now;
  const [text, unit] = seconds < HOUR ? [words.catalog_age_minutes, MINUTE]
    : seconds < 2 * DAY ? [words.catalog_age_hours, HOUR] : [words.catalog_age_days, DAY];
  return fill(text, { count: Math.max(0, Math.floor(seconds / unit)) });
}

function row(picture, name, fact, tone, state) {
  return element("div", { className: "oc-status", tone }, icon(picture), element("strong", { text: name }),
    element("span", { text: fact }), chip(tone, state));
}

function rows(state) {
  const codes = new Set(state.alarms.map((alarm) => alarm.code));
  const isHeld = state.source === "published";
  const fact = `${state.version} · ${isHeld ? age(state.age_s) : words.catalog_shipped}`;
  const [tone, word] = state.is_stale || !isHeld ? ["warn", words.catalog_due]
    : codes.has(OFFLINE) ? ["warn", words.catalog_offline] : ["ok", words.catalog_fresh];
  const found = [row("file", words.catalog_row, fact, tone, word)];
  const list = state.block_list;
  if (list) {
    const count = fill(words.block_list_count, { count: list.entries.toLocaleString() });
    const [listTone, listWord] = FRESH[list.freshness];
    found.push(row("lost", words.block_list_row, `${count} · ${age(list.age_s)}`, listTone, listWord));
  } else {
    found.push(row("lost", words.block_list_row, words.block_list_none, "warn", words.catalog_due));
  }
  if (state.update && state.update.state in UPDATES) {
    const [updateTone, updateWord] = UPDATES[state.update.state];
    found.push(row("swap", fill(words.update_row, { version: state.update.newest }), state.update.notes[lang], updateTone, updateWord));
  }
  return found;
}

function strips(alarms) {
  return alarms.filter((alarm) => alarm.code !== OFFLINE).map((alarm) => {
    const [title, remedy] = lang === "zh" ? [alarm.text_zh, alarm.remedy_zh] : [alarm.text_en, alarm.remedy_en];
    return alertStrip("warn", title, `${remedy} [${alarm.code}]`);
  });
}

async function draw() {
  const answer = await fetch("/v1/catalog/state", { cache: "no-store" });
  if (!answer.ok) return;
  const state = await answer.json();
  at("catalog-panel").hidden = !state.is_updating;
  at("catalog").replaceChildren(...rows(state));
  at("catalog-alarms").replaceChildren(...strips(state.alarms));
}

export function followCatalog(source) {
  const again = () => draw().catch(() => {}); // the page itself tells that the agent is gone
  for (const name of EVENTS) source.addEventListener(name, again);
  setInterval(again, AGAIN_MS);
}
