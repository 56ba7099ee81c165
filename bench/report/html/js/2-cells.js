// The table of cells: filter, sort, page. All rows are in memory as text; only one page of them is in the document.

const cells = (function cells() {
  const source = byId("cells-data");
  if (!source) return null;
  const data = JSON.parse(source.textContent);
  const table = byId("cells-table");
  const body = table.tBodies[0];
  const bad = new Set(data.bad);
  const state = { order: null, column: -1, isDown: false, page: 0 };

  function reader(texts) {
    return Array.isArray(texts) ? (row) => texts[row] : (row) => texts.of[texts.at[row]];
  }

  const columns = data.columns.map((column) => ({
    ...column, text: reader(column.texts), noise: column.noise ? reader(column.noise) : null, keys: null,
  }));
  const nameOf = reader(data.names);
  const haystacks = [];

  // What is searched: the cell's name and its texts, lower case; made when first asked for.
  function haystack(row) {
    haystacks[row] ??= [nameOf(row), ...columns.filter((c) => !c.right).map((c) => c.text(row))].join("\n").toLowerCase();
    return haystacks[row];
  }

  const PREFIX = { n: 1e-9, "µ": 1e-6, m: 1e-3, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 };

  // The figure as shown, as a number: "≥1.23 G", "7.45 KiB", "<1", "1,234"; null for a dash.
  function figure(text) {
    const match = /^[^\d+-]*([+-]?[\d,]*\.?\d+)\s*(\D*)$/.exec(text);
    if (!match) return null;
    const value = Number(match[1].replaceAll(",", ""));
    const unit = match[2];
    const binary = /^[KMGTP]iB/.test(unit);
    const scale = binary ? 1024 ** ("KMGTP".indexOf(unit[0]) + 1) : /^[nµmkMGTPE]/.test(unit) ? PREFIX[unit[0]] : 1;
    return text.startsWith("<") ? value * scale * 0.5 : value * scale;
  }

  function keysOf(column) {
    if (!column.keys) {
      const words = column.text;
      column.keys = Array.from({ length: data.rows }, (_, row) => (column.right ? figure(words(row)) : words(row)));
    }
    return column.keys;
  }

  const collator = new Intl.Collator(undefined, { numeric: true });

  function compare(keys, isDown, isFigure) {
    const sign = isDown ? -1 : 1;
    return (a, b) => {
      const x = keys[a], y = keys[b];
      if (x === null || y === null) return (x === null) - (y === null) || a - b; // what was not measured is last, always
      return (isFigure ? sign * (x - y) : sign * collator.compare(x, y)) || a - b;
    };
  }

  function chosen() {
    const words = byId("cells-search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = [...byId("cells-tools").querySelectorAll("select")]
      .filter((select) => select.selectedIndex > 0)
      .map((select) => [columns[select.dataset.column], select.value]);
    const rows = [];
    for (let row = 0; row < data.rows; row += 1) {
      if (wanted.every(([column, value]) => column.text(row) === value)
        && (words.length === 0 || words.every((word) => haystack(row).includes(word)))) rows.push(row);
    }
    return rows;
  }

  function update() {
    const rows = chosen();
    if (state.column >= 0) {
      const column = columns[state.column];
      rows.sort(compare(keysOf(column), state.isDown, column.right));
    }
    state.order = rows;
    const pages = Math.max(1, Math.ceil(rows.length / data.page));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * data.page;
    const shown = rows.slice(from, from + data.page);
    body.replaceChildren(...shown.map(line));
    const all = data.rows.toLocaleString("en");
    const found = rows.length.toLocaleString("en");
    byId("cells-status").textContent = rows.length === data.rows ? `${all} cell${data.rows.length === 1 ? "" : "s"}` : `${found} of ${all} cells`;
    byId("cells-pages").hidden = pages === 1;
    byId("cells-page").textContent = `${(from + 1).toLocaleString("en")} to ${(from + shown.length).toLocaleString("en")} of ${found}`;
    byId("cells-before").disabled = state.page === 0;
    byId("cells-next").disabled = state.page === pages - 1;
  }

  function line(row) {
    const tr = make("tr", { "data-row": row, ...(bad.has(row) ? { class: "bad" } : {}) });
    columns.forEach((column, number) => {
      const td = make("td", { class: `${column.right ? "right" : ""}${column.shown ? "" : " more"}` });
      const text = column.text(row);
      if (number === 0) td.append(opener(row, text)); else td.append(text);
      if (column.noise) td.append(make("span", { class: "noise" }, column.noise(row)));
      tr.append(td);
    });
    return tr;
  }

  function opener(row, text) {
    return make("button", { type: "button", class: "open", "aria-haspopup": "dialog", title: "All figures and raw samples" }, text);
  }

  function sortBy(number) {
    const isSame = state.column === number;
    // Figures come largest first: what is slow or large is looked for; words from A.
    if (!isSame) { state.column = number; state.isDown = columns[number].right; } else { state.isDown = !state.isDown; }
    state.page = 0;
    for (const th of table.tHead.rows[0].cells) {
      if (Number(th.dataset.column) === number) th.setAttribute("aria-sort", state.isDown ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
    update();
  }

  function prepare() {
    for (const th of table.tHead.rows[0].cells) {
      const button = make("button", { type: "button" });
      button.append(...th.childNodes);
      button.addEventListener("click", () => sortBy(Number(th.dataset.column)));
      th.append(button);
    }
    for (const tr of body.rows) {
      const td = tr.cells[0];
      td.replaceChildren(opener(Number(tr.dataset.row), td.textContent), ...[...td.children]);
    }
    const again = () => { state.page = 0; update(); };
    byId("cells-search").addEventListener("input", again);
    for (const select of byId("cells-tools").querySelectorAll("select")) select.addEventListener("change", again);
    byId("cells-all").addEventListener("change", (event) => table.classList.toggle("wide", event.target.checked));
    byId("cells-reset").addEventListener("click", () => {
      byId("cells-search").value = "";
      for (const select of byId("cells-tools").querySelectorAll("select")) select.selectedIndex = 0;
      state.column = -1;
      for (const th of table.tHead.rows[0].cells) th.removeAttribute("aria-sort");
      again();
    });
    byId("cells-before").addEventListener("click", () => { state.page -= 1; update(); });
    byId("cells-next").addEventListener("click", () => { state.page += 1; update(); });
    byId("cells-tools").hidden = false;
    if (data.rows > data.page) update();
  }

  prepare();
  return { data, columns, nameOf, body };
})();
