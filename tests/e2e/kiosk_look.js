// What is wrong with the layout of a kiosk's screen: an expression for Playwright's `evaluate`.
() => {
  const wrong = [];
  const say = (what) => wrong.push(what);
  const brief = (e) => {
    const kind = e.className?.baseVal ?? e.className;
    return `${e.tagName.toLowerCase()}.${kind} "${e.textContent.trim().slice(0, 24)}"`;
  };
  const hides = (way) => ["hidden", "clip", "auto", "scroll"].includes(way);
  const isSkipped = (e) =>
    !e.checkVisibility({ checkVisibilityCSS: true }) || getComputedStyle(e).clipPath === "inset(50%)" || e.closest(".visually-hidden, .oc-skip, [hidden], svg *, .oc-make [aria-current] > b");
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth + 1) say(`wider than the screen: ${root.scrollWidth}`);
  if (root.scrollHeight > innerHeight + 1) say(`scrolls: ${root.scrollHeight} of ${innerHeight}`);
  for (const e of document.body.querySelectorAll("*")) {
    if (isSkipped(e)) continue;
    const style = getComputedStyle(e);
    const box = e.getBoundingClientRect();
    const isWide = e.scrollWidth > e.clientWidth + 1;
    if (hides(style.overflowX) && isWide) say(`clipped: ${brief(e)} ${e.scrollWidth} of ${e.clientWidth}`);
    if (hides(style.overflowY) && e.scrollHeight > e.clientHeight + 1)
      say(`hidden below: ${brief(e)} ${e.scrollHeight} of ${e.clientHeight}`);
    const hasText = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const isOutside = box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1 || box.top < -1;
    if (hasText && isOutside) say(`outside: ${brief(e)}`);
    if (hasText && isWide && style.display !== "inline") say(`text sticks out: ${brief(e)}`);
    const isTarget = e.matches("button, a[href], input:not([type=hidden]), select, summary");
    if (isTarget && Math.min(box.width, box.height) < 59.5)
      say(`small target: ${brief(e)} ${Math.round(box.width)}x${Math.round(box.height)}`);
  }
  const dock = document.querySelector(".oc-dock")?.getBoundingClientRect().top ?? innerHeight;
  for (const e of document.querySelectorAll("main :is(button, p, h1, dd, li)")) {
    if (!isSkipped(e) && e.getBoundingClientRect().bottom > dock + 1) say(`under the dock: ${brief(e)}`);
  }
  return [...new Set(wrong)];
}
