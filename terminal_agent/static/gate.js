// The gate's display: draws each picture as it comes, beeps, and says it for those who cannot see it.

const at = (id) => document.getElementById(id);
const gate = at("gate");
const lost = at("words").dataset;
const PITCH = { pass: 880, again: 620, staff: 620, stop: 415 };
const BEEP_S = 0.12;
const PAUSE_S = 0.1;
const SILENCE_MS = 4000;
let seen = -1;
let silence;
let sound;

function beep(sign, times) {
  if (!times) return;
  try {
    sound ??= new AudioContext();
    if (sound.state === "suspended") sound.resume().catch(() => {});
    for (let count = 0; count < times; count += 1) {
      const begin = sound.currentTime + count * (BEEP_S + PAUSE_S);
      const tone = new OscillatorNode(sound, { frequency: PITCH[sign] ?? PITCH.stop });
      const level = new GainNode(sound, { gain: 0.25 });
      tone.connect(level).connect(sound.destination);
      tone.start(begin);
      tone.stop(begin + BEEP_S);
    }
  } catch {
    // A display without loudspeaker still shows.
  }
}

function draw(picture) {
  gate.dataset.state = picture.sign;
  const { zh: said, en: english } = picture;
  at("title").textContent = said.title;
  at("title").toggleAttribute("data-long", said.title.length > 4);
  at("text").textContent = said.text;
  at("money").textContent = said.money;
  at("money").hidden = !said.money;
  at("english").textContent = picture.sign === "idle" ? english.text : [english.title, english.text].filter((part, index, all) => part && all.indexOf(part) === index).join(" · ");
  at("note").textContent = said.note;
  if (picture.sign !== "idle") at("said").textContent = [said.title, said.text, said.money].filter(Boolean).join("，");
}

function tick() {
  at("clock").textContent = new Date().toLocaleTimeString("zh-CN", { timeZone: "Asia/Shanghai", hour12: false, hour: "2-digit", minute: "2-digit" });
}

const changes = new EventSource("/gate/changes");
changes.addEventListener("picture", ({ data }) => {
  clearTimeout(silence);
  silence = undefined;
  const picture = JSON.parse(data);
  draw(picture);
  gate.dataset.number = String(picture.number);
  if (seen >= 0 && picture.number !== seen) beep(picture.sign, picture.beeps);
  seen = picture.number;
});
changes.addEventListener("error", () => {
  silence ??= setTimeout(() => {
    const blank = { money: "", note: "" };
    draw({ sign: "out", zh: { title: lost.title, text: lost.text, ...blank }, en: { title: lost.titleEn, text: lost.textEn, ...blank } });
  }, SILENCE_MS);
});
addEventListener("pointerdown", () => sound?.resume().catch(() => {}));
tick();
setInterval(tick, 1000);
