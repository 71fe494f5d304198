// The large-type switch, remembered in a cookie that the server writes into the next page.

const TYPE_COOKIE = "oc_type";

export function largeTypeSwitch(button) {
  const root = document.documentElement;
  button.hidden = false;
  button.setAttribute("aria-pressed", String(root.dataset.type === "large"));
  button.addEventListener("click", () => {
    const isLarge = root.dataset.type !== "large";
    root.dataset.type = isLarge ? "large" : "normal";
    button.setAttribute("aria-pressed", String(isLarge));
    document.cookie = `${TYPE_COOKIE}=${isLarge ? "large" : "normal"}; path=/; max-age=31536000; samesite=strict`;
  });
}
