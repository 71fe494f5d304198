// What this terminal still has to tell the centre, and why it cannot.

import { alertStrip, chip, element, fill, icon } from "./draw.js";
import { lang, words } from "./view.js";

const EVENTS = ["open", "journal_alarm", "session_done", "card_removed"];
const AGAIN_MS = 20000;
const DAY_MS = 86400000;
const STATES = {
  sent: ["ok", words.journal_sent], sending: ["ok", words.journal_sending],
  waiting: ["warn", words.journal_waiting], full: ["bad", words.journal_full],
};

const at = (id) => document.getElementById(id);

function clock(time) {
  const moment = new Date(time);
  const form = Date.now() - moment < DAY_MS ? { timeStyle: "short" } : { dateStyle: "short" };
  return moment.toLocaleString(lang === "zh" ? "zh-CN" : "en-GB", form);
}

function row(told) {
  const kept = told.journal;
  const count = kept ? kept.sequence - kept.acknowledged : 0;
  const since = kept && kept.oldest_at ? ` · ${fill(words.journal_since, { time: clock(kept.oldest_at) })}` : "";
  const [tone, word] = STATES[told.state];
  return element("div", { className: "oc-status", tone }, icon("swap"), element("strong", { text: words.journal_row }),
    element("span", { text: fill(words.journal_count, { count }) + since }), chip(tone, word));
}

function strips(told) {
  const found = [];
  if (told.state === "full") {
    const [title, remedy] = lang === "zh" ? [told.text_zh, told.remedy_zh] : [told.text_en, told.remedy_en];
    found.push(alertStrip("bad", title, `${remedy} [${told.failure}]`));
  }
  if (told.aside.length) {
    found.push(alertStrip("warn", fill(words.journal_aside, { count: told.aside.length }), words.journal_aside_hint));
  }
  return found;
}

async function draw() {
  const answer = await fetch("/v1/journal", { cache: "no-store" });
  if (!answer.ok) return;
  const told = await answer.json();
  at("journal-panel").hidden = told.state === "none";
  if (told.state === "none") return;
  at("journal").replaceChildren(row(told));
  at("journal-alarms").replaceChildren(...strips(told));
}

export function followJournal(source) {
  const again = () => draw().catch(() => {}); // the page itself tells that the agent is gone
  for (const name of EVENTS) source.addEventListener(name, again);
  setInterval(again, AGAIN_MS);
}
