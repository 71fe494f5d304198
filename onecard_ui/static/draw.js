// Drawing for every page with a script. Data reaches a page as text nodes only, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const TONE_ICONS = { ok: "check", warn: "warn", bad: "cross", info: "info", idle: "clock" };

export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "oc-icon");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/static/icons.svg#i-${name}`);
  svg.append(use);
  return svg;
}

export function element(tag, { className, tone, text } = {}, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (tone) made.dataset.tone = tone;
  if (text !== undefined) made.append(text);
  made.append(...children);
  return made;
}

export function chip(tone, text) {
  return element("span", { className: "oc-chip", tone }, icon(TONE_ICONS[tone]), text);
}

export function alertStrip(tone, title, text) {
  const paragraph = element("p", {}, element("strong", { text: title }), element("br"), text);
  return element("div", { className: "oc-alert", tone }, icon(TONE_ICONS[tone]), paragraph);
}

// A template's content with its data-field elements by name.
export function stamp(id) {
  const content = document.getElementById(id).content.cloneNode(true);
  const fields = {};
  for (const node of content.querySelectorAll("[data-field]")) fields[node.dataset.field] = node;
  const acts = {};
  for (const node of content.querySelectorAll("[data-act]")) acts[node.dataset.act] = node;
  return { content, fields, acts, root: content.firstElementChild };
}
