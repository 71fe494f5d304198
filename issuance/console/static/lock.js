// The lock screen: covers the page after some minutes without a hand, and keeps what was being done.
// The service locks the session at the same time, so that no other window shows anything either.

const dialog = document.getElementById("lock");
const form = document.getElementById("lock-form"); // not there where clerks log in by scan only
const password = document.getElementById("lock-password");
const wrong = document.getElementById("lock-wrong");
const others = new BroadcastChannel("onecard-lock");
const LOOK_MS = 5000;
const TELL_MS = 5000;
const LOCK_MS = 3000;
let seen = Date.now();
let told = 0;
let locking = Promise.resolve(); // what the service was told last: an unlock must not overtake it
let isUnlocking = false; // one press of Enter is one try

function send(path, body) {
  const form = new URLSearchParams({ csrf: dialog.dataset.csrf, ...body });
  return fetch(path, { method: "POST", headers: { Accept: "application/json" }, body: form });
}

function cover() {
  if (dialog.open) return;
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
  document.documentElement.dataset.locked = "";
  if (wrong) wrong.textContent = "";
  dialog.showModal();
  password?.focus();
}

function uncover() {
  if (password) password.value = "";
  seen = Date.now();
  delete document.documentElement.dataset.locked;
  dialog.close();
}

async function lock() {
  cover();
  others.postMessage("locked");
  locking = send("/console/lock", {}).catch(() => undefined);
  const response = await locking;
  if (response?.status === 401) location.reload(); // the session is over: to the log-in
}

async function unlock(event) {
  event.preventDefault();
  if (isUnlocking) return;
  isUnlocking = true;
  await Promise.race([locking, new Promise((done) => setTimeout(done, LOCK_MS))]); // a line that is dead answers never
  const response = await send("/console/unlock", { password: password.value }).catch(() => undefined);
  isUnlocking = false;
  if (response?.status === 204) {
    uncover();
    others.postMessage("unlocked");
    return;
  }
  const problem = response ? await response.json() : {};
  if (problem.code === "SESSION_ENDED") location.reload();
  password.value = "";
  wrong.textContent = response?.status === 429 ? dialog.dataset.limited : dialog.dataset.failed;
  password.focus();
}

function touched() {
  if (dialog.open) return;
  seen = Date.now();
  if (seen - told > TELL_MS) {
    told = seen;
    others.postMessage("seen");
  }
}

function look() {
  if (!dialog.open && Date.now() - seen > dialog.dataset.after * 1000) lock();
}

others.addEventListener("message", ({ data }) => {
  if (data === "locked") cover();
  else if (data === "unlocked" && dialog.open) uncover();
  else seen = Date.now();
});
for (const name of ["keydown", "pointerdown", "pointermove", "wheel", "input"]) {
  document.addEventListener(name, touched, { passive: true, capture: true });
}
dialog.addEventListener("cancel", (event) => event.preventDefault());
form?.addEventListener("submit", unlock);
document.getElementById("lock-now").addEventListener("submit", (event) => {
  event.preventDefault();
  lock();
});
others.postMessage("unlocked"); // this page is shown, so the session is open: another window may have unlocked it
setInterval(look, LOOK_MS);
