// What every page has: its data, colours and theme, tabs, buttons that copy, and one selection for all pictures.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An SVG element with attributes and children. */
function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The colour that a custom property has now, as the canvas takes it. */
function colour(name) {
  const probe = $(".skip");
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.style.color = "";
  return found;
}

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];

/** Three digits, a prefix and a unit. */
function si(value, unit = "") {
  if (!value) return `0 ${unit}`.trim();
  const size = Math.abs(Number(value.toPrecision(3)));
  const [scale, prefix] = PREFIXES.find(([least]) => size >= least) ?? PREFIXES.at(-1);
  return `${Number((value / scale).toPrecision(3))} ${prefix}${unit}`.trim();
}
/** Bytes of a memory, which is built in powers of two. */
function memory(bytes) {
  const power = bytes < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

/** As it is, or with a prefix from 10,000 on. */
const plain = (value) => (value < 1e4 ? String(Number(value.toPrecision(3))) : si(value));
const whole = (value) => Math.round(value).toLocaleString("en-US");

// -- light and dark: as the system says, until somebody chooses ----------------------------------------------

const redraws = [];
function redraw() { for (const draw of redraws) draw(); }

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
function toldTheme() {
  $("#theme").setAttribute("aria-pressed", String(isDark()));
  redraw();
}
$("#theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  toldTheme();
});
system.addEventListener("change", toldTheme);
matchMedia("print").addEventListener("change", redraw);
$("#theme").setAttribute("aria-pressed", String(isDark()));

// -- tabs -----------------------------------------------------------------------------------------------------

for (const list of $$('[role="tablist"]')) {
  const tabs = $$('[role="tab"]', list);
  const choose = (tab) => {
    for (const each of tabs) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      document.getElementById(each.getAttribute("aria-controls")).hidden = !chosen;
    }
    redraw();
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
}

// -- copying --------------------------------------------------------------------------------------------------

/** Also where a page has no clipboard of its own, as from a file in some browsers. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const told = button.textContent;
  await copied(button.dataset.copy);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = told; }, 1200);
});

// -- one selection ----------------------------------------------------------------------------------------------

const selection = new EventTarget();
let selected = -1;

/** Select a layer (or a point) in all pictures; -1: none. */
function select(which) {
  selected = which === selected ? -1 : which;
  selection.dispatchEvent(new Event("change"));
}
selection.addEventListener("change", () => {
  for (const each of $$(".on[data-layer], .on[data-point]")) each.classList.remove("on");
  for (const each of $$(`[data-layer="${selected}"], [data-point="${selected}"]`)) each.classList.add("on");
});
