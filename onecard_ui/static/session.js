// A card session as it goes on at the terminal: stages, progress, what to do. Used by the agent's page and the console.

import { alertStrip, chip, element, fill, icon, stamp } from "./draw.js";

const JOB_TONES = { running: "info", awaiting_card: "warn", awaiting_printer: "warn", done: "ok", failed: "bad", cancelled: "idle" };

// Draws the template `t-session`. `trail` holds the texts of the stages so far, oldest first.
export function sessionView(job, trail, words, lang) {
  const { fields, acts, root } = stamp("t-session");
  fields.title.textContent = words[job.kind];
  fields.chip.append(chip(JOB_TONES[job.state], words[`session_${job.state}`]));
  let counts = fill(words.counts, { apdus: job.apdus, round_trips: job.network_round_trips });
  if (job.sessions > 1) counts += ` · ${fill(words.restarted, { times: job.sessions - 1 })}`;
  fields.counts.textContent = counts;
  const progress = root.querySelector("progress");
  progress.max = Math.max(job.steps, 1);
  progress.value = job.state === "done" ? progress.max : Math.max(0, job.step - 1);
  trail.forEach((stage, index) => fields.steps.append(stageItem(stage, index, index === trail.length - 1 ? job.state : "done", words)));
  fields.alert.append(jobAlert(job, trail.at(-1), words, lang));
  const isOver = ["done", "failed", "cancelled"].includes(job.state);
  acts.stop.hidden = isOver;
  return { root, acts };
}

function stageItem(stage, index, state, words) {
  const badge = element("b");
  const item = element("li", {}, badge, element("div", {}, element("strong", { text: stage })), element("span"));
  if (state === "done") {
    item.dataset.state = "done";
    badge.append(icon("check"));
    item.lastElementChild.textContent = words.step_done;
  } else if (state === "failed" || state === "cancelled") {
    item.dataset.state = "fail";
    badge.append(icon("cross"));
  } else {
    item.setAttribute("aria-current", "step");
    badge.textContent = String(index + 1);
    item.lastElementChild.textContent = words[`session_${state}`];
  }
  return item;
}

function jobAlert(job, stage, words, lang) {
  const text = lang === "zh" ? job.text_zh : job.text_en;
  if (job.state === "failed" && job.failure) {
    const suffix = lang === "zh" ? "zh" : "en";
    const strip = alertStrip("bad", job.failure[`text_${suffix}`], job.failure[`cause_${suffix}`]);
    strip.querySelector("p").append(element("br"), job.failure[`remedy_${suffix}`], element("br"),
      element("small", { className: "oc-muted", text: job.failure.code }));
    return strip;
  }
  if (job.state === "done") return alertStrip("ok", words.done_title, words[`done_${job.kind}`]);
  if (job.state === "awaiting_card") return alertStrip("warn", text, words.safe_text);
  if (job.state === "awaiting_printer") return alertStrip("warn", text, words.printer_text);
  const isOwnWord = job.state === "running" && job.step > 0 && text !== stage; // the agent's, about network or card
  return alertStrip("info", isOwnWord ? text : words.safe_title, words.safe_text);
}

// The stages so far after `job` was heard of: a step's first text names it; later ones are about the network or the
// card. A new start goes back to step 0.
export function nextTrail(trail, job, lang) {
  const text = lang === "zh" ? job.text_zh : job.text_en;
  const kept = job.step < trail.length ? [] : trail;
  return job.state === "running" && job.step > kept.length ? [...kept, text] : kept;
}
