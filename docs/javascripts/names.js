// What Material's own elements lack: the search is a dialog, blocks of code bring landmarks, wide tables scroll by keyboard.
const name = () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  document.querySelectorAll("nav.md-code__nav").forEach((nav, index) => {
    nav.setAttribute("aria-label", `Copy block ${index + 1}`);
  });
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((table) => table.setAttribute("tabindex", "0"));
};
new MutationObserver(name).observe(document.documentElement, { childList: true, subtree: true });
document.addEventListener("DOMContentLoaded", name);
