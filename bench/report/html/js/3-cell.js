// One cell in a dialog: its raw samples in the order they were taken, their distribution, all figures, its doubts.

(function cell() {
  if (!cells) return;
  const dialog = byId("cell");
  const { data, columns, nameOf, body } = cells;
  const WIDTH = 640, HEIGHT = 190, LEFT = 58, RIGHT = 96, TOP = 10, BOTTOM = 24;

  body.addEventListener("click", (event) => {
    const button = event.target.closest("button.open");
    if (button) open(Number(button.closest("tr").dataset.row));
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  function open(row) {
    const close = make("button", { type: "button", class: "close" }, "Close");
    close.addEventListener("click", () => dialog.close());
    const parts = [make("h3", { id: "cell-title" }, nameOf(row)), close];
    if (data.reasons[row]) parts.push(make("p", {}, data.reasons[row]));
    const raw = data.raw[row];
    if (raw) parts.push(picture(raw), make("p", { class: "note" }, about(raw)));
    else parts.push(make("p", { class: "note" }, "No step was timed."));
    parts.push(facts(row));
    for (const letter of data.sees === null ? "" : columns[data.sees].text(row)) {
      if (data.doubts[letter]) parts.push(make("p", {}, make("span", { class: "letter" }, letter), " ", data.doubts[letter]));
    }
    dialog.replaceChildren(...parts);
    dialog.showModal();
    dialog.scrollTop = 0;
  }

  function facts(row) {
    const list = make("dl", { class: "facts" });
    columns.forEach((column, number) => {
      const text = column.text(row);
      if (!text || text === "-" || number === data.sees) return;
      const noise = column.noise ? column.noise(row) : "";
      const term = column.unit ? `${column.name} ${column.unit}` : column.name;
      list.append(make("div", {}, make("dt", {}, term), make("dd", {}, noise ? `${text} ${noise}` : text)));
    });
    return list;
  }

  function quantile(sorted, share) {
    const at = share * (sorted.length - 1);
    const low = Math.floor(at);
    return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  }

  function words(seconds) {
    const [scale, unit] = seconds >= 1 ? [1, "s"] : seconds >= 1e-3 ? [1e-3, "ms"] : seconds >= 1e-6 ? [1e-6, "µs"] : [1e-9, "ns"];
    return `${(seconds / scale).toPrecision(3).replace(/e.*/, "")} ${unit}`;
  }

  function sortedSeconds(raw) {
    return raw.flatMap((one) => one.steps.map((value) => value * one.unit)).sort((a, b) => a - b);
  }

  function about(raw) {
    const sorted = sortedSeconds(raw);
    const total = raw.reduce((sum, one) => sum + one.of, 0);
    const every = Math.max(...raw.map((one) => one.every));
    const thinned = every > 1 ? `, every ${every}th shown` : "";
    const processes = raw.length > 1 ? ` in ${raw.length} fresh processes` : "";
    return `${total.toLocaleString("en")} steps${processes}${thinned}, ${raw[0].clock} clock. `
      + `Fastest ${words(sorted[0])}, 10 % ${words(quantile(sorted, 0.1))}, median ${words(quantile(sorted, 0.5))}, `
      + `90 % ${words(quantile(sorted, 0.9))}, slowest ${words(sorted[sorted.length - 1])}. `
      + "Rings are warm-up, which does not count; the bars at the right count steps of a length.";
  }

  function picture(raw) {
    const sorted = sortedSeconds(raw);
    const warm = raw.flatMap((one) => one.warm.map((value) => value * one.unit));
    const top = Math.max(sorted[sorted.length - 1], ...warm.map((value) => Math.min(value, 2 * quantile(sorted, 0.5))));
    const low = Math.min(sorted[0], ...warm);
    const margin = (top - low) * 0.06 || top * 0.05;
    const from = Math.max(0, low - margin), to = top + margin;
    const count = raw.reduce((sum, one) => sum + one.steps.length + one.warm.length, 0);
    const x = (index) => LEFT + ((index + 0.5) / count) * (WIDTH - LEFT - RIGHT);
    const y = (seconds) => HEIGHT - BOTTOM - ((Math.min(seconds, to) - from) / (to - from)) * (HEIGHT - TOP - BOTTOM);
    const svg = draw("svg", { class: "samples", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Steps in the order they were taken; the figures are in the text below" });
    for (const share of [0, 0.5, 1]) {
      const value = from + share * (to - from);
      svg.append(draw("g", { class: "grid" }, draw("path", { d: `M${LEFT} ${y(value)}H${WIDTH - RIGHT}` })),
        draw("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, words(value)));
    }
    let index = 0;
    raw.forEach((one, number) => {
      const group = draw("g", { class: `c${[0, 1, 2, 3, 4, 5][number % 6]}` });
      for (const value of one.warm) group.append(draw("circle", { class: "warm", cx: x(index++), cy: y(value * one.unit), r: 2.6 }));
      for (const value of one.steps) group.append(draw("circle", { cx: x(index++), cy: y(value * one.unit), r: count > 300 ? 1.6 : 2.6 }));
      svg.append(group);
    });
    const median = quantile(sorted, 0.5);
    svg.append(draw("path", { class: "median", d: `M${LEFT} ${y(median)}H${WIDTH - RIGHT}` }));
    svg.append(draw("text", { x: LEFT, y: HEIGHT - 6 }, "in the order taken"), bars(sorted, from, to, y));
    return svg;
  }

  function bars(sorted, from, to, y) {
    const bins = Math.max(6, Math.min(24, Math.ceil(Math.sqrt(sorted.length))));
    const counts = new Array(bins).fill(0);
    for (const value of sorted) counts[Math.min(bins - 1, Math.floor(((value - from) / (to - from)) * bins))] += 1;
    const most = Math.max(...counts);
    const group = draw("g", {});
    counts.forEach((number, bin) => {
      const high = y(from + ((bin + 1) / bins) * (to - from)), low = y(from + (bin / bins) * (to - from));
      if (number) group.append(draw("rect", { x: WIDTH - RIGHT + 12, y: high + 0.5, width: (number / most) * (RIGHT - 14), height: Math.max(1, low - high - 1) }, draw("title", {}, `${number} steps`)));
    });
    return group;
  }
})();
