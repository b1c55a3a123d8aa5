// One tip for the whole page: the text of what the pointer is on, or of what has the focus.

const tip = $("#tip");

/** Show text beside a point of the window, within the window. */
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const room = document.documentElement.clientWidth;
  const left = Math.max(8, Math.min(x + 14, room - width - 8));
  const above = y + height + 24 > innerHeight;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(above ? y - height - 14 : y + 16) + scrollY}px`;
}
function hideTip() { tip.hidden = true; }

document.addEventListener("pointermove", (event) => {
  const told = event.target.closest?.("[data-tip]");
  if (told) showTip(told.dataset.tip, event.clientX, event.clientY);
  else if (!event.target.closest?.("canvas, .chart")) hideTip();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
document.addEventListener("scroll", hideTip, { passive: true });

/** Let a group of elements be walked with the arrow keys: one place in the order of Tab, however many there are. */
function walkable(root, items, describe, choose) {
  let at = 0;
  items.forEach((item, i) => { item.tabIndex = i ? -1 : 0; });
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (items.indexOf(document.activeElement) >= 0) at = items.indexOf(document.activeElement);
    if (step && items.length) {
      event.preventDefault();
      items[at].tabIndex = -1;
      at = (at + step + items.length) % items.length;
      items[at].tabIndex = 0;
      items[at].focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(at);
    }
  });
  root.addEventListener("focusin", (event) => {
    const i = items.indexOf(event.target);
    if (i < 0) return;
    const box = items[i].getBoundingClientRect();
    showTip(describe(i), box.right, box.bottom);
  });
  root.addEventListener("focusout", hideTip);
}
