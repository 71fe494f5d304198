// What the three pages share: finding the terminal service, being let in, showing what was done. It holds no card's data.

import { AgentFailure, OneCardAgent } from "/onecard-agent.js";
import { alertStrip, element, fill } from "/static/draw.js";
import { largeTypeSwitch } from "/static/type.js";

export const page = JSON.parse(document.getElementById("page").textContent);
export const words = page.words;
const TOKEN = "onecard-token";
const DRIVER_PORT = 12342;

/** The driver's answer was no success; its text is the driver's own, in Chinese. */
export class DriverRefusal extends Error {
  constructor(answer) {
    super(answer.pOutInfo);
    this.code = answer.success;
  }
}

/** The terminal service, let in: the first time a person at the terminal is asked. */
export async function openAgent() {
  const kept = localStorage.getItem(TOKEN);
  const agent = page.place ? new OneCardAgent(page.place.url, kept) : await OneCardAgent.find(kept);
  try {
    await agent.info();
  } catch (error) {
    if (error.code !== "PAIRING_REQUIRED") throw error;
    say("info", words.pair_title, words.pair_hint);
    const token = await traced("pair", agent.pair(words.site));
    if (token) localStorage.setItem(TOKEN, token);
  }
  return agent;
}

/** The reader with a card in it. */
export async function cardReader(agent) {
  const readers = (await traced("readers", agent.readers())).filter((one) => one.role === "card");
  const found = readers.find((one) => one.atr) ?? readers[0];
  if (!found) throw new AgentFailure({ code: "READER_NOT_FOUND", title: words.no_reader, title_en: words.no_reader });
  return found.name;
}

/** The driver functions through onecard-agent.js, with the reader this page has leased. */
export async function leasedDriver(agent, lease) {
  const { ws_port: port } = await agent.info();
  return agent.driver(page.place?.ws_url ?? `ws://127.0.0.1:${port}`, lease.secret);
}

/** The driver's WebSocket as programs of the installed base use it: one message, one answer, in order. */
export function installedDriver() {
  const token = localStorage.getItem(TOKEN);
  // The one line an old page needs where its origin is to be paired; an allowed origin needs none.
  const protocols = token ? ["onecard", `onecard-token.${token}`] : [];
  const socket = new WebSocket(page.place?.ws_url ?? `ws://127.0.0.1:${DRIVER_PORT}`, protocols);
  const opened = new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new AgentFailure({ code: "AGENT_UNREACHABLE", title: words.no_driver, title_en: words.no_driver }));
  });
  const call = async (name, parameters = {}) => {
    await opened;
    const answer = new Promise((resolve) => { socket.onmessage = (event) => resolve(JSON.parse(event.data)); });
    socket.send(JSON.stringify({ function: name, ...parameters }));
    return answer;
  };
  return { call, close: () => socket.close() };
}

/** What a driver function gave; a negative code is thrown. */
export async function driven(driver, name, parameters) {
  const answer = await traced(name, driver.call(name, parameters), (given) => given.success === "1" ? null : given.success);
  if (answer.success !== "1") throw new DriverRefusal(answer);
  return answer.pOutInfo;
}

/** A request to the page's own server. */
export async function ownServer(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json().catch(() => ({ code: "INTERNAL" }));
  if (!response.ok) throw new AgentFailure(answer);
  return answer;
}

/** A call and how it ended, in the list at the side. */
export async function traced(name, promise, refusal = () => null) {
  const line = element("li", {}, element("code", { text: name }), element("span", { text: "…" }));
  document.getElementById("calls").append(line);
  const end = (tone, text) => {
    line.dataset.tone = tone;
    line.lastChild.textContent = text;
  };
  try {
    const answer = await promise;
    const refused = refusal(answer);
    end(refused ? "bad" : "ok", refused ?? words.call_done);
    return answer;
  } catch (error) {
    end("bad", error.code ?? error.name);
    throw error;
  }
}

/** A button that does one thing at a time, and says what went wrong. */
export function onPress(id, act) {
  const button = document.getElementById(id);
  button.addEventListener("click", async () => {
    button.disabled = true;
    say("info", words.busy, words.busy_hint);
    document.getElementById("calls").replaceChildren();
    try {
      await act();
    } catch (error) {
      explain(error);
    } finally {
      button.disabled = false;
    }
  });
}

export function say(tone, title, text = "") {
  document.getElementById("said").replaceChildren(alertStrip(tone, title, text));
}

/** Facts as a list of terms. */
export function show(id, facts) {
  const rows = facts.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })]);
  document.getElementById(id).replaceChildren(...rows);
}

export const mask = (text, first, last) => text.slice(0, first) + "*".repeat(Math.max(0, text.length - first - last)) + text.slice(text.length - last);
export { element, fill };

function explain(error) {
  if (error instanceof AgentFailure) {
    const { title, cause, remedy } = error.words(page.lang);
    say("bad", title, [cause, remedy].filter(Boolean).join(" "));
  } else if (error instanceof DriverRefusal) {
    say("bad", fill(words.driver_said, { code: error.code }), error.message);
  } else {
    console.error(error);
    say("bad", words.fault, String(error.message ?? error));
  }
}

largeTypeSwitch(document.getElementById("large"));
