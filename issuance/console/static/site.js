// Pages for citizens: the large-type switch, focus on what went wrong.

import { largeTypeSwitch } from "./type.js";

largeTypeSwitch(document.getElementById("large"));
(document.querySelector("[aria-invalid]") ?? document.getElementById("refusal"))?.focus();
