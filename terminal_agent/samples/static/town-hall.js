// Town hall: what the holder of a scanned code may do here, and log-in by card.

import { cardReader, driven, element, fill, installedDriver, onPress, openAgent, ownServer, page, say, show, traced, words } from "./frame.js";

const HERE = "110000";

// -- with onecard-agent.js ----------------------------------------------------------------------------------------

async function whatApplies() {
  const agent = await openAgent();
  say("info", words.scan_title, words.scan_hint);
  const { text } = await traced("scan", agent.scan(30));
  if (text === null) return null;
  const question = { from: document.getElementById("from").value, in: HERE, carrier: "qr" };
  return (await traced("whatApplies", agent.whatApplies(question))).answers;
}

async function logIn() {
  const agent = await openAgent();
  const reader = await cardReader(agent);
  const begun = await traced("POST /town-hall/log-ins", ownServer("/town-hall/log-ins", {}));
  say("info", words.pin_title, words.pin_hint);
  const signed = await traced("logIn", agent.logIn(reader, begun.text));
  return traced("POST /town-hall/log-ins/…", ownServer(`/town-hall/log-ins/${begun.id}`, signed));
}

// -- as the installed base does it: its driver knows neither codes nor the catalog, but signs -----------------------

async function signByDriver() {
  await openAgent();
  const driver = installedDriver();
  try {
    const items = (await driven(driver, "iReadCardBas", { iType: 3 })).split("|");
    say("info", words.pin_title, words.pin_hint);
    const pInData = fill(words.statement, { name: items[4] });
    return await driven(driver, "PKI_SignData", { pUserPin: "", pInData, iType: 3 });
  } finally {
    driver.close();
  }
}

// -- the page -----------------------------------------------------------------------------------------------------

if (page.dialect === "driver") {
  onPress("sign", async () => {
    const signature = await signByDriver();
    show("signed", [[words.signature, `${signature.slice(0, 24)}…`]]);
    say("ok", words.signed, words.signed_hint);
  });
} else {
  onPress("scan", async () => {
    const answers = await whatApplies();
    if (answers === null) return say("warn", words.no_code, words.no_code_hint);
    const [offered, unclear] = ["yes", "depends"].map((outcome) => answers.filter((one) => one.outcome === outcome));
    document.getElementById("items").replaceChildren(
      ...[...offered, ...unclear].slice(0, 6).map((one) => element("li", { text: one.name[page.lang] })),
    );
    return say("ok", fill(words.offered, { count: offered.length, unclear: unclear.length }), words.offered_hint);
  });
  onPress("log-in", async () => {
    const done = await logIn();
    say("ok", words.logged_in, fill(words.logged_in_hint, { date: done.valid_until }));
  });
}
