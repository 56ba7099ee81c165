"use strict";
// Small tools, the theme, and where the reader is. Text enters the page by textContent only, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

(function theme() {
  const button = byId("theme");
  const wantsDark = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const key = "stepbench-theme";

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : wantsDark.matches;
  }

  function show() {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
  }

  try { // a page opened as a file may have no storage
    const kept = window.localStorage.getItem(key);
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch { /* then the system decides */ }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { window.localStorage.setItem(key, root.dataset.theme); } catch { /* not kept */ }
    show();
  });
  wantsDark.addEventListener("change", show);
  button.hidden = false;
  show();
})();

(function place() {
  const links = new Map([...document.querySelectorAll(".top nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) seen.add(entry.target.id); else seen.delete(entry.target.id);
    }
    const current = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) {
      if (id === current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-15% 0px -60% 0px" });
  for (const section of document.querySelectorAll("main > section")) watcher.observe(section);
})();

(function sideways() { // a table that is wider than the page says so
  function show(box) {
    const isWide = box.scrollWidth > box.clientWidth + 1;
    const before = box.previousElementSibling;
    const note = before && before.className === "sideways" ? before : null;
    if (isWide && !note) {
      const words = make("p", { class: "sideways", "aria-hidden": "true" }, "scrolls sideways →");
      box.before(words);
      box.tabIndex = 0;
    } else if (!isWide && note) note.remove();
  }
  const watcher = new ResizeObserver((entries) => entries.forEach((entry) => show(entry.target.closest(".scroll"))));
  for (const table of document.querySelectorAll(".scroll > table")) {
    watcher.observe(table);
    watcher.observe(table.parentElement);
  }
})();
