// @ts-check
// The terminal service for web pages: import { OneCardAgent } from "http://127.0.0.1:12343/onecard-agent.js".
// Every call is a promise of its own; a failure is an AgentFailure with a stable `code`.

import { AgentFailure, FAILURES } from "./onecard-agent-failures.js";

export { AgentFailure, FAILURES };

/** Ports where a terminal service may be found, the usual one first. */
export const PORTS = Object.freeze([12343, 12345, 12347, 12349, 12351]);
export const API_LEVEL = 2;

const FIND_MS = 1500;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8000;

/** Nothing answers: the service does not run, or the browser was not allowed to reach it (see `/permission`). */
export class AgentUnreachable extends AgentFailure {
  constructor() {
    super({
      code: "AGENT_UNREACHABLE", retry: "later",
      title: "没有找到终端服务", title_en: "The terminal service was not found",
      cause_zh: "终端服务没有运行，或者浏览器没有允许这个网页访问本机。",
      cause_en: "It does not run, or the browser was not allowed to reach this computer.",
      remedy_zh: "启动终端服务，在浏览器的提问里点允许，再试一次。",
      remedy_en: "Start it, choose Allow where the browser asks, and try again.",
    });
  }
}

/**
 * @typedef {{owner: string, origin: string | null, kind: "lease" | "session", since: string, waiting: number}} Holder
 * @typedef {{name: string, state: string, atr: string | null, role: "card" | "psam", is_contactless: boolean, holder: Holder | null}} Reader
 * @typedef {{masked?: boolean, authenticate?: boolean}} ReadOptions
 * @typedef {{lease?: string, signal?: AbortSignal}} CallOptions
 * @typedef {{owner: string, waitS?: number, maxS?: number, signal?: AbortSignal}} LeaseOptions
 * @typedef {Record<string, any>} Answer
 */

/** One terminal service. */
export class OneCardAgent {
  /** @param {string} url as `http://127.0.0.1:12343` @param {string | null} token of an earlier `pair` */
  constructor(url, token = null) {
    this.url = url;
    this.token = token;
  }

  /**
   * The first service that answers on the known ports.
   * @param {string | null} [token] @param {readonly number[]} [ports]
   */
  static async find(token = null, ports = PORTS) {
    const asked = ports.map(async (port) => {
      const agent = new OneCardAgent(`http://127.0.0.1:${port}`, token);
      const answer = await fetch(`${agent.url}/healthz`, { cache: "no-store", signal: AbortSignal.timeout(FIND_MS) });
      if (!answer.ok || !answer.headers.has("X-OneCard-Api-Level")) throw new AgentUnreachable();
      return agent;
    });
    for (const found of asked) found.catch(() => {});
    for (const found of asked) {
      try {
        return await found;
      } catch {
        continue; // the next port
      }
    }
    throw new AgentUnreachable();
  }

  /**
   * One request and its answer. Rejects with an AgentFailure.
   * @param {string} method @param {string} path @param {unknown} [body] @param {CallOptions} [options]
   * @returns {Promise<any>}
   */
  async call(method, path, body, { lease, signal } = {}) {
    /** @type {Record<string, string>} */
    const headers = { "X-OneCard-Api-Level": String(API_LEVEL) };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (lease) headers["X-OneCard-Lease"] = lease;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const response = await reach(signal, () => fetch(`${this.url}${path}`, {
      method, headers, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body),
    }));
    return response.status === 204 ? null : answerOf(response, signal);
  }

  /**
   * Asks the person at the terminal to let this page in, once; keep the token for `new OneCardAgent` and `find`.
   * Null where the page needs none. Rejects with PairingRefusedFailure.
   * @param {string} name how the page calls itself @param {number} [waitS] @returns {Promise<string | null>}
   */
  async pair(name, waitS = 60) {
    const { token } = await this.call("POST", "/v1/pairings", { name, wait_s: waitS });
    if (token) this.token = token;
    return token;
  }

  /** @returns {Promise<Answer>} */ info() { return this.call("GET", "/v1/info"); }
  /** @returns {Promise<Reader[]>} */ readers() { return this.call("GET", "/v1/readers"); }
  /** @returns {Promise<Answer[]>} */ devices() { return this.call("GET", "/v1/devices"); }

  /**
   * The holder's basic information; masked unless asked otherwise.
   * @param {string} reader @param {ReadOptions} [what] @param {CallOptions} [options] @returns {Promise<Answer>}
   */
  readCard(reader, { masked = true, authenticate = true } = {}, options = {}) {
    return this.call("POST", `${readerPath(reader)}/basic-information`, { masked, authenticate }, options);
  }

  /** Signs a log-in with the card; the holder types the PIN at the terminal, never in this page.
   * @param {string} reader @param {string} text as the centre gave it @param {CallOptions} [options]
   * @returns {Promise<{certificate: string, signature: string}>} */
  logIn(reader, text, options = {}) { return this.call("POST", "/v1/log-ins", { reader, text }, options); }

  /** @param {number} [waitS] @param {CallOptions} [options] @returns {Promise<Answer>} */
  readIdCard(waitS = 10, options = {}) { return this.call("POST", "/v1/id-card/read", { wait_s: waitS }, options); }

  /** @param {number} [timeoutS] @param {CallOptions} [options] @returns {Promise<{text: string | null, at: string | null}>} */
  scan(timeoutS = 30, options = {}) { return this.call("POST", "/v1/scanner/wait", { timeout_s: timeoutS }, options); }

  /** @param {{text: string, align?: "left" | "centre" | "right", large?: boolean, bold?: boolean}[]} lines @param {string} [qr] @returns {Promise<Answer>} */
  printReceipt(lines, qr = "") { return this.call("POST", "/v1/receipts", { lines, qr }); }

  /** A JPEG and why it will not do as a card's photo. @returns {Promise<Answer>} */
  takePicture() { return this.call("POST", "/v1/camera/picture"); }

  /** What a person may do with which card where. @param {Answer} question @returns {Promise<Answer>} */
  whatApplies(question) { return this.call("POST", "/v1/catalog/what", question); }

  /** Whether a card is on the block list. @param {Answer} question @returns {Promise<Answer>} */
  lookUpBlocked(question) { return this.call("POST", "/v1/block-list/look", question); }

  /** @param {Answer} order @param {CallOptions} [options] @returns {Promise<{job_id: string}>} */
  startSession(order, options = {}) { return this.call("POST", "/v1/card-sessions", order, options); }

  /** @param {string} id @returns {Promise<Answer>} */
  session(id) { return this.call("GET", `/v1/card-sessions/${encodeURIComponent(id)}`); }

  /** @param {string} id @returns {Promise<Answer>} */
  cancelSession(id) { return this.call("DELETE", `/v1/card-sessions/${encodeURIComponent(id)}`); }

  /**
   * The reader for this page alone, waited for in line; freed when the page goes.
   * Rejects with ReaderLeasedFailure, whose `holder` says who has it.
   * @param {string} reader @param {LeaseOptions} options @returns {Promise<Lease>}
   */
  async lease(reader, { owner, waitS = 30, maxS = 300, signal }) {
    const body = { owner, wait_s: waitS, max_s: maxS };
    const granted = await this.call("POST", `${readerPath(reader)}/lease`, body, { signal });
    const lease = new Lease(this, granted);
    await lease.bound;
    return lease;
  }

  /** Events from now on; reconnects by itself. @param {string} [lease] bound to this connection */
  events(lease) { return new AgentEvents(this, lease); }

  /** The installed base's driver functions, in the order called. @param {string} url as `ws://127.0.0.1:12342` @param {string} [lease] */
  driver(url, lease) { return new DriverConnection(url, this.token, lease); }
}

/** A reader that this page has for itself. `lost` resolves when it no longer does. */
export class Lease {
  /** @param {OneCardAgent} agent @param {Answer} granted */
  constructor(agent, granted) {
    this.agent = agent;
    /** @type {string} */ this.reader = granted.reader;
    this.secret = granted.lease;
    this.events = agent.events(granted.lease);
    /** @type {Promise<void>} */
    this.lost = new Promise((resolve) => this.events.on("closed", () => resolve()));
    /** Once the page's end would free the reader. @type {Promise<void>} */
    this.bound = new Promise((resolve, reject) => {
      this.events.on("open", () => resolve());
      this.events.on("closed", reject);
    });
  }

  /** @param {ReadOptions} [what] */
  readCard(what) { return this.agent.readCard(this.reader, what, { lease: this.secret }); }

  /** @param {string} text */
  logIn(text) { return this.agent.logIn(this.reader, text, { lease: this.secret }); }

  /** @param {Answer} order without the reader's name */
  startSession(order) { return this.agent.startSession({ ...order, reader: this.reader }, { lease: this.secret }); }

  /** Gives the reader to the next in line. */
  async release() {
    try {
      await this.agent.call("DELETE", `${readerPath(this.reader)}/lease`, undefined, { lease: this.secret });
    } catch (error) {
      if (!(error instanceof AgentFailure && error.code === "LEASE_LOST")) throw error;
    } finally {
      this.events.close();
    }
  }
}

/** Server-Sent Events by fetch: EventSource can send no token. `resync`: read the state anew. */
export class AgentEvents {
  /** @param {OneCardAgent} agent @param {string} [lease] */
  constructor(agent, lease) {
    this.agent = agent;
    this.lease = lease;
    /** @type {Map<string, Set<(data: any) => void>>} */ this.listeners = new Map();
    this.lastId = "";
    this.stopped = new AbortController();
    this.pauseMs = FIRST_PAUSE_MS;
    // A browser may keep the page that was left, and its connections, for going back; nobody else would get the reader.
    if (lease) globalThis.addEventListener("pagehide", () => this.close(), { signal: this.stopped.signal });
    this.follow();
  }

  /** Names as the service has them, and `open`, `broken`, `closed`. @param {string} name @param {(data: any) => void} listener */
  on(name, listener) {
    const known = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, known.add(listener));
    return () => known.delete(listener);
  }

  close() {
    this.stopped.abort();
  }

  /** @param {string} name @param {unknown} data */
  tell(name, data) {
    for (const listener of this.listeners.get(name) ?? []) {
      try {
        listener(data);
      } catch (error) {
        console.error(error); // one listener's mistake is not the others'
      }
    }
  }

  async follow() {
    /** @type {unknown} */ let reason = null;
    while (!this.stopped.signal.aborted) {
      try {
        await this.connect();
        if (this.lease) break; // the lease has ended with the connection
      } catch (error) {
        reason = error;
        const isRefused = error instanceof AgentFailure && !(error instanceof AgentUnreachable) && error.retry !== "later";
        if (isRefused || this.lease) break;
      }
      if (this.stopped.signal.aborted) break;
      this.tell("broken", reason);
      await new Promise((resolve) => setTimeout(resolve, this.pauseMs * (0.5 + Math.random())));
      this.pauseMs = Math.min(LONGEST_PAUSE_MS, this.pauseMs * 2);
    }
    this.close();
    this.tell("closed", reason);
  }

  async connect() {
    /** @type {Record<string, string>} */
    const headers = { Accept: "text/event-stream" };
    if (this.agent.token) headers.Authorization = `Bearer ${this.agent.token}`;
    if (this.lease) headers["X-OneCard-Lease"] = this.lease;
    if (this.lastId) headers["Last-Event-ID"] = this.lastId;
    const { signal } = this.stopped;
    const response = await reach(signal, () => fetch(`${this.agent.url}/v1/events`, { headers, signal, cache: "no-store" }));
    if (!response.ok || !response.body) return answerOf(response, signal);
    this.pauseMs = FIRST_PAUSE_MS;
    this.tell("open", null);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) this.take(block);
    }
  }

  /** @param {string} block */
  take(block) {
    /** @type {Record<string, string>} */ const fields = {};
    for (const line of block.split("\n")) {
      const [name, ...rest] = line.split(": ");
      if (name) fields[name] = rest.join(": ");
    }
    if (fields.id) this.lastId = fields.id;
    if (fields.event && fields.data) this.tell(fields.event, JSON.parse(fields.data));
  }
}

/** The driver's WebSocket: its messages have no numbers, so each call waits for the answers of those before it. */
export class DriverConnection {
  /** @param {string} url @param {string | null} [token] @param {string} [lease] */
  constructor(url, token, lease) {
    const words = ["onecard", ...(token ? [`onecard-token.${token}`] : []), ...(lease ? [`onecard-lease.${lease}`] : [])];
    /** @type {{resolve: (answer: Answer) => void, reject: (error: Error) => void}[]} */ this.waiting = [];
    this.socket = new WebSocket(url, words);
    this.opened = new Promise((resolve, reject) => {
      this.socket.addEventListener("open", () => resolve(undefined));
      this.socket.addEventListener("close", () => {
        reject(new AgentUnreachable());
        for (const { reject: fail } of this.waiting.splice(0)) fail(new AgentUnreachable());
      });
    });
    this.opened.catch(() => {});
    this.socket.addEventListener("message", (event) => this.waiting.shift()?.resolve(JSON.parse(event.data)));
  }

  /** @param {string} name @param {Record<string, unknown>} [parameters] @returns {Promise<Answer>} `success`, `pOutInfo` */
  async call(name, parameters = {}) {
    await this.opened;
    if (this.socket.readyState !== WebSocket.OPEN) throw new AgentUnreachable();
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.socket.send(JSON.stringify({ ...parameters, function: name }));
    });
  }

  close() { this.socket.close(); }
}

/** @param {string} reader */
const readerPath = (reader) => `/v1/readers/${encodeURIComponent(reader)}`;

/**
 * @template T
 * @param {AbortSignal | undefined} signal @param {() => Promise<T>} work @returns {Promise<T>}
 */
async function reach(signal, work) {
  try {
    return await work();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new AgentUnreachable();
  }
}

/** An answer that broke off is none, whatever its status said. @param {Response} response @param {AbortSignal} [signal] */
async function answerOf(response, signal) {
  const text = await reach(signal, () => response.text());
  /** @type {any} */ let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw failure({ code: "INTERNAL" });
  }
  if (!response.ok) throw failure(answer);
  return answer;
}

/** @param {Record<string, any>} problem */
function failure(problem) {
  return new (FAILURES[problem.code] ?? AgentFailure)(problem);
}
