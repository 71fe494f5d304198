// Bank: ID card and social security card of one person, the number of the bank account on the card, activation.

import { cardReader, driven, fill, installedDriver, leasedDriver, mask, onPress, openAgent, ownServer, page, say, show, traced, words } from "./frame.js";

// -- with onecard-agent.js ----------------------------------------------------------------------------------------

async function papers() {
  const agent = await openAgent();
  const lease = await traced("lease", agent.lease(await cardReader(agent), { owner: words.owner }));
  const driver = await leasedDriver(agent, lease);
  try {
    const holder = await traced("readCard", lease.readCard({ masked: false }));
    say("info", words.lay_title, words.lay_hint);
    const person = await traced("readIdCard", agent.readIdCard(20));
    const account = await driven(driver, "iReadICCardNum");
    const isSame = holder.social_security_number === person.number && holder.name === person.name;
    return { name: person.name, number: person.number, account: account.split("|")[0], isSame };
  } finally {
    driver.close();
    await lease.release();
  }
}

// -- as the installed base does it --------------------------------------------------------------------------------

async function papersByDriver() {
  await openAgent();
  const driver = installedDriver();
  try {
    const holder = (await driven(driver, "iReadCardBas", { iType: 3 })).split("|");
    say("info", words.lay_title, words.lay_hint);
    const person = (await driven(driver, "iReadIdentityCard")).split("|");
    const account = await driven(driver, "iReadICCardNum");
    const isSame = holder[1] === person[6] && holder[4] === person[1];
    return { name: person[1], number: person[6], account: account.split("|")[0], isSame };
  } finally {
    driver.close();
  }
}

// -- both ---------------------------------------------------------------------------------------------------------

const activate = document.getElementById("activate");
let found = null;

onPress("compare", async () => {
  found = null;
  activate.disabled = true;
  found = await (page.dialect === "driver" ? papersByDriver() : papers());
  show("person", [
    [words.holder_name, found.name],
    [words.number, mask(found.number, 3, 4)],
    [words.account, mask(found.account, 3, 4)],
    [words.same, found.isSame ? words.yes : words.no],
  ]);
  activate.disabled = !found.isSame;
  if (found.isSame) say("ok", words.same_title, words.same_hint);
  else say("bad", words.other_title, words.other_hint);
});

onPress("activate", async () => {
  const done = await traced("POST /bank/activations", ownServer("/bank/activations", { is_same_person: found.isSame, bank_card_end: found.account.slice(-4) }));
  say("ok", words.activated, fill(words.activated_hint, { number: done.number }));
});
