// Closes the menus on Escape and on a click elsewhere. Without this script they are opened and closed by clicks on them.
const open = () => document.querySelectorAll("details.submenu[open]");

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of open()) {
    menu.open = false;
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
  }
});

document.addEventListener("click", (event) => {
  for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
});

// On narrow screens each row of a table is a block of its own, and each cell tells its heading (portal.css). Styled so, the
// cells are no table to screen readers any more unless their roles are said. Without this script the frame scrolls.
const ROLES = { THEAD: "rowgroup", TBODY: "rowgroup", TFOOT: "rowgroup", TR: "row", TD: "cell" };

const stack = () => {
  for (const table of document.querySelectorAll(".table-frame > table:not(.is-stacking)")) {
    table.classList.add("is-stacking");
    table.setAttribute("role", "table");
    const titles = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
    for (const part of table.querySelectorAll("thead, tbody, tfoot, tr, td")) part.setAttribute("role", ROLES[part.tagName]);
    for (const cell of table.querySelectorAll("th")) cell.setAttribute("role", cell.scope === "row" ? "rowheader" : "columnheader");
    for (const row of table.querySelectorAll("tbody tr, tfoot tr")) {
      [...row.cells].forEach((cell, place) => { if (titles[place]) cell.dataset.title = titles[place]; });
    }
  }
};

stack();
new MutationObserver(stack).observe(document.querySelector("main"), { childList: true, subtree: true });
