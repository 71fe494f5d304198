"""`/onecard-agent-failures.js`: each failure as a class of the page's client, from the one list of all failures."""

from __future__ import annotations

import json
from functools import cache
from typing import Final

from cardlib.failures import FailureCode, describe

_HEAD: Final = """// @ts-check
// Made from the failures that all of OneCard shares; their words are in docs/failures.md.

/** A refusal of the terminal service. `code` is stable; texts may change. */
export class AgentFailure extends Error {
  /** @param {Record<string, any>} problem RFC 9457 problem document */
  constructor(problem) {
    super(`${problem.code}: ${problem.title_en ?? problem.title ?? ""}`);
    this.name = "AgentFailure";
    /** @type {string} */ this.code = problem.code;
    /** @type {Record<string, any>} */ this.problem = problem;
    /** @type {"now" | "later" | "after_remedy" | "never"} */ this.retry = problem.retry ?? "later";
    /** @type {{owner: string, origin: string | null, since: string, waiting?: number} | null} */
    this.holder = problem.holder ?? null;
  }

  /** What happened, and what to do now. @param {"zh" | "en"} language */
  words(language) {
    const tail = language === "zh" ? "_zh" : "_en";
    const { title, title_en: english, [`cause${tail}`]: cause = "", [`remedy${tail}`]: remedy = "" } = this.problem;
    return { title: (language === "zh" ? title : english) ?? this.code, cause, remedy };
  }
}
"""


@cache
def script() -> str:
    """One class for each failure, and the table from code to class."""
    parts = [_HEAD]
    for code in FailureCode:
        said = json.dumps(describe(code).text_en, ensure_ascii=False).replace("*/", "")
        parts.append(f"/** {said[1:-1]} */\nexport class {_class_of(code)} extends AgentFailure {{}}\n")
    rows = "".join(f"  {code.value}: {_class_of(code)},\n" for code in FailureCode)
    kind = "/** @type {Readonly<Record<string, typeof AgentFailure>>} */"
    table = f"{kind}\nexport const FAILURES = Object.freeze({{\n{rows}}});\n"
    return "\n".join([*parts, table])


def _class_of(code: FailureCode) -> str:
    return "".join(word.capitalize() for word in code.value.split("_")) + "Failure"
