// The catalog's public pages work without this: the large-type switch, the print button, focus on what went wrong.

import { largeTypeSwitch } from "./type.js";

largeTypeSwitch(document.getElementById("large"));
const print = document.getElementById("print");
if (print) {
  print.hidden = false;
  print.addEventListener("click", () => window.print());
}
document.getElementById("refusal")?.focus();
