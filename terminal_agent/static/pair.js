// Large type for the pages where a person decides.

import { largeTypeSwitch } from "./type.js";

const button = document.getElementById("large");
if (button) largeTypeSwitch(button);
