// The terminal agent of this computer, which listens on a loopback address and answers pages on its list only.

const LANGUAGE = document.documentElement.dataset.lang;

export class AgentProblem extends Error {
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }
}

async function call(base, method, path, body) {
  const response = await fetch(base + path, {
    method,
    cache: "no-store",
    credentials: "omit",
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new AgentProblem(answer);
  return answer;
}

// The first of the addresses that answers; undefined when none does.
export async function findAgent(addresses) {
  for (const base of addresses) {
    try {
      const info = await call(base, "GET", "/v1/info");
      return {
        base,
        info,
        get: (path) => call(base, "GET", path),
        post: (path, body) => call(base, "POST", path, body),
        stop: (job) => call(base, "DELETE", `/v1/card-sessions/${encodeURIComponent(job)}`),
        events: () => new EventSource(`${base}/v1/events`),
      };
    } catch {
      // not there, or this page is not on its list: the next one
    }
  }
  return undefined;
}

// Words of a problem document, of the agent or of the console.
export function wordsOf(problem) {
  const isChinese = LANGUAGE === "zh";
  return {
    title: (isChinese ? problem.title : problem.title_en) ?? problem.title ?? "",
    cause: (isChinese ? problem.cause_zh : problem.cause_en) ?? "",
    remedy: (isChinese ? problem.remedy_zh : problem.remedy_en) ?? "",
    code: problem.code ?? "",
  };
}
