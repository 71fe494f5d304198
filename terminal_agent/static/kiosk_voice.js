// What the kiosk's pages say and how they sound: by a voice of the browser's own, or by the agent's.

const kept = { audio: null, sound: null };
const main = () => document.getElementById("main");

function sounding() {
  kept.audio ??= new AudioContext();
  if (kept.audio.state === "suspended") kept.audio.resume().catch(() => {});
  return kept.audio;
}

export function beep(times) {
  const audio = sounding();
  for (let n = 0; n < times; n += 1) {
    const tone = audio.createOscillator();
    const level = audio.createGain();
    tone.frequency.value = 880;
    level.gain.value = 0.15;
    tone.connect(level).connect(audio.destination);
    tone.start(audio.currentTime + n * 0.25);
    tone.stop(audio.currentTime + n * 0.25 + 0.12);
  }
}

/** The sentence of the screen that stands there now. */
export async function speak() {
  const { say, voiceIndex, lang } = main().dataset;
  const who = document.body.dataset.voice;
  hush();
  if (!say || who === "off") return;
  const voice = window.speechSynthesis?.getVoices().find((one) => one.lang.toLowerCase().startsWith(lang));
  if (voice && who !== "espeak") {
    const sentence = new SpeechSynthesisUtterance(say);
    sentence.voice = voice;
    sentence.lang = voice.lang;
    speechSynthesis.speak(sentence);
  } else if (who !== "browser") {
    const response = await fetch(`/kiosk/voice/${lang}/${voiceIndex}.wav`);
    if (!response.ok || main().dataset.voiceIndex !== voiceIndex) return;
    const audio = sounding();
    const sound = audio.createBufferSource();
    sound.buffer = await audio.decodeAudioData(await response.arrayBuffer());
    hush();
    sound.connect(audio.destination);
    sound.start();
    kept.sound = sound;
  }
}

function hush() {
  window.speechSynthesis?.cancel();
  try {
    kept.sound?.stop();
  } catch {
    // it had ended
  }
  kept.sound = null;
}
