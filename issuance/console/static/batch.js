// One batch: a file goes up in parts, work is followed by server-sent events.

import { alertStrip, fill } from "./draw.js";
import { follow } from "./live.js";

const words = JSON.parse(document.getElementById("words").dataset.words);
const TRIES = 4;

class Refused extends Error {}

/** What is wrong and what to do, of problem details. */
function inWords(problem) {
  const language = document.documentElement.dataset.lang;
  const [wrong] = problem.fields ?? [];
  const title = wrong?.[`text_${language}`] ?? (language === "zh" ? problem.title : problem.title_en) ?? "";
  const remedy = wrong?.[`remedy_${language}`] ?? problem[`remedy_${language}`] ?? "";
  return `${title}${words.stop}${remedy}`;
}

async function call(method, path, csrf, body, type) {
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf };
  if (type) headers["Content-Type"] = type;
  const answer = await fetch(path, { method, headers, body });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(inWords(problem));
  }
  return answer.status === 204 ? null : answer.json();
}

/** A part may be sent again: the same bytes change nothing. */
async function putPart(path, csrf, blob) {
  for (let left = TRIES; ; left--) {
    try {
      return await call("PUT", path, csrf, blob, "application/octet-stream");
    } catch (error) {
      if (error instanceof Refused || left <= 1) throw error;
      await new Promise((done) => setTimeout(done, 1000 * (TRIES - left + 1)));
    }
  }
}

async function send(form, file) {
  const { upload, csrf } = form.dataset;
  const bar = form.querySelector("progress");
  const name = file.name.replace(/[^A-Za-z0-9._-]/g, "_").slice(-128);
  const opened = await call("POST", upload, csrf, JSON.stringify({ name }), "application/json");
  const below = upload.replace(/\/\d+\/files\/[a-z]+$/, `/files/${opened.id}`);
  const parts = Math.ceil(file.size / opened.part_bytes);
  bar.max = parts;
  bar.hidden = false;
  for (let number = 0; number < parts; number++) {
    const start = number * opened.part_bytes;
    await putPart(`${below}/parts/${number}`, csrf, file.slice(start, start + opened.part_bytes));
    bar.value = number + 1;
  }
  form.querySelector("[data-field=said]").textContent = words.checking;
  location.assign((await call("POST", `${below}/complete`, csrf)).next);
}

async function onSubmit(event) {
  event.preventDefault();
  const form = event.target;
  const [file] = form.querySelector("input[type=file]").files;
  const said = form.querySelector("[data-field=said]");
  const button = form.querySelector("button");
  button.disabled = true;
  said.textContent = words.sending;
  try {
    if (!file.size) throw new Refused(words.empty);
    await send(form, file);
  } catch (error) {
    said.replaceChildren(alertStrip("bad", words.failed, error instanceof Refused ? error.message : words.retry));
    button.disabled = false;
  }
}

function tell(jobs) {
  for (const job of jobs) {
    const panel = document.querySelector(`[data-job="${CSS.escape(job.id)}"]`);
    if (!panel) continue;
    panel.querySelector("progress").max = job.total || 1;
    panel.querySelector("progress").value = job.done;
    const left = job.eta_s === null ? "" : ` · ${fill(words.left, { s: job.eta_s })}`;
    panel.querySelector("[data-field=told]").textContent = `${job.done.toLocaleString()} / ${job.total.toLocaleString()}${left}`;
  }
}

for (const form of document.querySelectorAll("[data-upload]")) form.addEventListener("submit", onSubmit);
const work = document.getElementById("work");
if (work) {
  const end = (_event, source) => {
    source.close();
    location.reload();
  };
  follow(work.dataset.events, { message: (event) => tell(JSON.parse(event.data)), end });
}
