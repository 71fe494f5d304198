// Every page of the phone app: the large-type switch, focus on what went wrong.

import { largeTypeSwitch } from "./type.js";

largeTypeSwitch(document.getElementById("large"));
(document.getElementById("refusal") ?? document.querySelector('[role="alert"]'))?.focus();
