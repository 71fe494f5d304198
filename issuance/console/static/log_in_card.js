// Log-in by the card in this computer's reader. The local agent asks for the PIN; this page never sees it.

import { AgentProblem, findAgent, wordsOf } from "./agent.js";
import { again } from "./log_in.js";

const box = document.getElementById("card");
const path = document.getElementById("log-in").dataset.path;
const words = JSON.parse(box.dataset.words);
const button = document.getElementById("card-begin");
const said = document.getElementById("card-said");

function say(tone, title, text) {
  said.hidden = false;
  said.dataset.tone = tone;
  said.querySelector("[data-field=title]").textContent = title;
  said.querySelector("[data-field=text]").textContent = text;
}

async function ask(where, body) {
  const response = await fetch(path + where, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRF-Token": box.dataset.csrf },
    body: JSON.stringify(body),
  });
  if (response.status === 204) return undefined;
  const answer = await response.json();
  if (!response.ok) throw new AgentProblem(answer);
  return answer;
}

async function logIn() {
  say("info", words.looking, "");
  const agent = await findAgent(JSON.parse(box.dataset.agents));
  if (!agent) return say("warn", words.no_agent, words.no_agent_text);
  const readers = await agent.get("/v1/readers");
  const reader = readers.find((one) => one.role === "card" && one.atr !== null && one.state !== "LOST");
  if (!reader) return say("warn", words.no_card, words.no_card_text);
  const { text } = await ask("/card/challenge", {});
  say("info", words.pin, words.pin_text);
  const { certificate, signature } = await agent.post("/v1/log-ins", { reader: reader.name, text });
  await ask("/card", { certificate, signature });
  say("ok", words.done, "");
  again();
}

button.hidden = false;
button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    await logIn();
  } catch (error) {
    if (!(error instanceof AgentProblem)) say("bad", words.lost, words.lost_text);
    else {
      const { title, cause, remedy } = wordsOf(error.problem);
      say("bad", title, `${cause} ${remedy}`);
    }
  } finally {
    button.disabled = false;
  }
});
