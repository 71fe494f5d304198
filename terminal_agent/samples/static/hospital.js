// Hospital: registration by reading the card, settlement from the medical account after the PIN.

import { cardReader, driven, fill, installedDriver, leasedDriver, mask, onPress, openAgent, page, say, show, traced, words } from "./frame.js";

const BILL = { total: "38.60", fromAccount: "38.60" };

// -- with onecard-agent.js ----------------------------------------------------------------------------------------

async function register() {
  const agent = await openAgent();
  const holder = await traced("readCard", agent.readCard(await cardReader(agent)));
  return { name: holder.name, number: holder.social_security_number, card: holder.card_number, genuine: holder.genuine };
}

async function settle() {
  const agent = await openAgent();
  const lease = await traced("lease", agent.lease(await cardReader(agent), { owner: words.owner }));
  const driver = await leasedDriver(agent, lease);
  try {
    const paid = await pay(driver);
    return { ...paid, slip: await slip(agent, paid) };
  } finally {
    driver.close();
    await lease.release();
  }
}

// A slip is a courtesy: what was paid stays paid where there is no printer, or no paper in it.
async function slip(agent, paid) {
  const printer = (await agent.devices()).find((one) => one.kind === "receipt_printer");
  if (!printer) return words.no_slip;
  const lines = [
    { text: words.slip_title, align: "centre", large: true },
    { text: fill(words.paid, { amount: BILL.total }) },
    { text: fill(words.slip_number, { number: parseInt(paid.number, 16) }) },
  ];
  return traced("printReceipt", agent.printReceipt(lines)).then(() => words.slip_done, () => words.slip_failed);
}

// -- as the installed base does it --------------------------------------------------------------------------------

async function registerByDriver() {
  await openAgent();
  const driver = installedDriver();
  try {
    const items = (await driven(driver, "iReadCardBas", { iType: 3 })).split("|");
    return { name: items[4], number: mask(items[1], 3, 4), card: mask(items[2], 5, 0), genuine: true };
  } finally {
    driver.close();
  }
}

async function settleByDriver() {
  await openAgent();
  const driver = installedDriver();
  try {
    return await pay(driver);
  } finally {
    driver.close();
  }
}

// -- both ---------------------------------------------------------------------------------------------------------

// The same functions in the same order on either connection: the PIN is typed at the terminal between the two.
async function pay(driver) {
  const items = (await driven(driver, "iReadCardBas", { iType: 3 })).split("|");
  const pCardInfo = `${items[3]}|${items[2]}|`;
  say("info", words.pin_title, words.pin_hint);
  await driven(driver, "iVerifyPIN", { iType: 3 });
  const pPayInfo = `${BILL.total}|${BILL.fromAccount}|${now()}|`;
  const receipt = (await driven(driver, "iDoDebit", { iType: 3, pCardInfo, pPayInfo })).split("|");
  return { number: receipt[5], tac: receipt[7] };
}

function now() {
  const two = (number) => String(number).padStart(2, "0");
  const at = new Date();
  return `${at.getFullYear()}${[at.getMonth() + 1, at.getDate(), at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join("")}`;
}

const isDriver = page.dialect === "driver";

onPress("register", async () => {
  const patient = await (isDriver ? registerByDriver() : register());
  const genuine = patient.genuine ? words.genuine : words.not_checked;
  show("patient", [[words.holder_name, patient.name], [words.number, patient.number], [words.card_number, patient.card], [words.authentic, genuine]]);
  say("ok", words.registered, words.registered_hint);
});

onPress("settle", async () => {
  const paid = await (isDriver ? settleByDriver() : settle());
  say("ok", fill(words.paid, { amount: BILL.total }), `${fill(words.paid_hint, { number: parseInt(paid.number, 16) })} ${paid.slip ?? ""}`);
});
