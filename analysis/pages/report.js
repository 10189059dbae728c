// Controls of the page's tables: sort by a heading, choose columns, copy. Without scripts the tables are whole.
"use strict";

const cells = (row) => [...row.cells].filter((cell) => !cell.hidden).map((cell) => cell.textContent.trim());

/** The number that a cell begins with, as the page writes numbers: 1,234.5, −3, 8.25× (8.20 to 8.31); else its text. */
function key(cell) {
  const text = cell.textContent.trim();
  const found = /^[+\u2212-]?[\d,]*\.?\d+(?:e[+\u2212-]?\d+)?/i.exec(text);
  return found ? Number(found[0].replaceAll("\u2212", "-").replaceAll(",", "")) : text === "\u2013" ? null : text;
}

/** Numbers before texts, and empty cells last in either direction. */
function compare(one, other, direction) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
  return direction * (typeof one === "number" ? one - other : one.localeCompare(other));
}

function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
      rows.sort(([one], [other]) => compare(one, other, ascending ? 1 : -1));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

/** A field of CSV; a text that a spreadsheet would take for a formula gets an apostrophe, as in the files. */
function quoted(text) {
  const safe = /^'*[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
const escaped = (text) => text.replace(/[\\&%$#_{}~^]/g, (c) => ({ "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" })[c] ?? `\\${c}`);

const FORMS = {
  CSV: (rows) => rows.map((row) => row.map(quoted).join(",")).join("\n"),
  Markdown: ([head, ...rows]) =>
    [head, head.map((_, i) => (i ? "---:" : ":---")), ...rows].map((row) => `| ${row.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`).join("\n"),
  LaTeX: ([head, ...rows]) =>
    [
      `\\begin{tabular}{l${"r".repeat(head.length - 1)}}`,
      "\\toprule",
      `${head.map(escaped).join(" & ")} \\\\`,
      "\\midrule",
      ...rows.map((row) => `${row.map(escaped).join(" & ")} \\\\`),
      "\\bottomrule",
      "\\end{tabular}",
    ].join("\n"),
};

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // a page from disk may have no clipboard
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function tools(table) {
  const bar = document.createElement("div");
  bar.className = "tools";
  const chooser = document.createElement("details");
  chooser.append(Object.assign(document.createElement("summary"), { textContent: "Columns" }));
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      for (const row of table.rows) row.cells[column].hidden = !box.checked;
    });
    const label = document.createElement("label");
    label.append(box, ` ${heading.textContent.trim()}`);
    if (column) chooser.append(label);
  });
  bar.append(chooser);
  const said = Object.assign(document.createElement("span"), { role: "status" });
  for (const [name, form] of Object.entries(FORMS)) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: `Copy ${name}` });
    button.addEventListener("click", async () => {
      await copy(form([...table.rows].map(cells)));
      said.textContent = `${table.tBodies[0].rows.length} rows copied as ${name}`;
    });
    bar.append(button);
  }
  bar.append(said);
  table.closest(".scroll").before(bar);
}

for (const table of document.querySelectorAll("table.data")) {
  tools(table);
  sortable(table);
}
