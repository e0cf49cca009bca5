"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---------------------------------------------------------------- tables: sorted and filtered

  function sortable(table) {
    const body = table.tBodies[0];
    const inOrder = [...body.rows];
    all("thead th", table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        // Numbers begin with the highest, and the third click is the sweep's own order again.
        const ways = head.classList.contains("number")
          ? { none: "descending", descending: "ascending", ascending: "none" }
          : { none: "ascending", ascending: "descending", descending: "none" };
        const way = ways[head.getAttribute("aria-sort") || "none"];
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        if (way !== "none") head.setAttribute("aria-sort", way);
        const sign = way === "descending" ? -1 : 1;
        const rows = way === "none" ? inOrder
          : [...inOrder].sort((a, b) => compared(valueOf(a.cells[column]), valueOf(b.cells[column]), sign));
        body.append(...rows);
      });
    });
  }

  function valueOf(cell) {
    const value = cell.dataset.sort ?? cell.textContent;
    const number = Number(value);
    return value.trim() !== "" && !Number.isNaN(number) ? number : value;
  }

  function compared(a, b, sign) {
    // What has no value comes last, whichever way a column is sorted.
    const missing = (value) => value === "–" || value === "";
    if (missing(a) !== missing(b)) return missing(a) ? 1 : -1;
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function filtered(worked) {
    const field = worked.querySelector("input[type=search]");
    const count = worked.querySelector(".count");
    const table = worked.querySelector("table");
    const heads = all("thead th", table).map((head) => head.textContent.trim().toLowerCase());
    field.addEventListener("input", () => {
      const terms = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) row.hidden = !terms.every((term) => holds(row, term, heads));
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = terms.length ? `${shown} of ${rows.length}` : "";
    });
  }

  function holds(row, term, heads) {
    const [name, ...rest] = term.split("=");
    const column = rest.length ? heads.indexOf(name) : -1;
    if (column >= 0) return row.cells[column].textContent.trim().toLowerCase() === rest.join("=");
    return [...row.cells].some((cell) => cell.textContent.toLowerCase().includes(term));
  }

  all("table.sortable").forEach(sortable);
  all(".worked").forEach(filtered);

  // ---------------------------------------------------------------- matrices: slider and hint

  for (const family of all(".family")) {
    const slider = family.querySelector("input[type=range]");
    if (!slider) continue;
    const steps = all(".step", family);
    const show = () => {
      steps.forEach((step, number) => { step.hidden = number !== Number(slider.value); });
      const value = steps[Number(slider.value)].dataset.value;
      family.querySelector("output").textContent = value;
      slider.setAttribute("aria-valuetext", value);
    };
    slider.addEventListener("input", show);
    show();
  }

  const hint = document.getElementById("hint");
  let marked = null;

  function entryAt(cell) {
    const table = cell.closest("table.matrix");
    const row = cell.parentElement.rowIndex - 1, column = cell.cellIndex - 1;
    return { table, row, column };
  }

  function line(text, tag = "p") {
    const made = document.createElement(tag);
    made.textContent = text;  // text, whatever it looks like
    return made;
  }

  function at(entries, row, column) {
    return Array.isArray(entries) ? entries[row][column] : entries;
  }

  function told({ table, row, column }) {
    const behind = data.matrices[table.dataset.matrix];
    const rows = all("tbody th", table), columns = all("thead th", table);
    const parts = [line(`${rows[row].textContent} × ${columns[column].textContent}`)];
    const value = behind.values[row][column];
    if (!behind.texts) {
      parts.push(line(value === null ? "no value" : `${value.toFixed(3)}, the mean of a block`, "b"));
      return parts;
    }
    parts.push(line(value === null ? "no value" : behind.texts[row][column], "b"));
    const n = at(behind.n, row, column), chance = at(behind.chance, row, column), count = at(behind.count, row, column);
    const facts = [`n = ${n}`];
    if (count) facts.push(`${count} images in all`);
    if (chance !== null) facts.push(`chance ${Number(chance.toFixed(4))}`);
    parts.push(line(facts.join(" · ")));
    const note = behind.notes[`${row},${column}`];
    if (note) parts.push(line(note));
    for (const one of behind.components) {
      const [first, second] = [one.rows[row], one.columns[column]].map((place) => data.references[place]);
      const pair = first === second ? first : `${first} × ${second}`;
      parts.push(line(one.seed === null ? pair : `seed ${one.seed}: ${pair}`));
    }
    return parts;
  }

  function explain(cell, keep = false) {
    if (marked) marked.classList.remove("at");
    marked = cell;
    cell.classList.add("at");
    hint.replaceChildren(...told(entryAt(cell)));
    hint.hidden = false;
    hint.classList.toggle("kept", keep);
    const box = cell.getBoundingClientRect(), own = hint.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left, innerWidth - own.width - 8));
    const below = box.bottom + 8;
    const top = below + own.height > innerHeight - 8 ? Math.max(8, box.top - own.height - 8) : below;
    hint.style.left = `${left}px`;
    hint.style.top = `${top}px`;
  }

  function silent() {
    if (marked) marked.classList.remove("at");
    marked = null;
    hint.hidden = true;
    hint.classList.remove("kept");
  }

  const isKept = () => hint.classList.contains("kept");
  document.addEventListener("pointerover", (event) => {
    const cell = event.target.closest?.("table.matrix tbody td");
    if (isKept()) return;
    if (cell) explain(cell); else if (!hint.hidden && !document.activeElement.matches("table.matrix")) silent();
  });
  document.addEventListener("click", (event) => {
    const cell = event.target.closest("table.matrix tbody td");
    if (cell) explain(cell, true); else if (!event.target.closest("#hint")) silent();
  });
  document.addEventListener("scroll", () => { if (!hint.hidden) silent(); }, { passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") silent(); });

  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  for (const table of all("table.matrix")) {
    const rows = [...table.tBodies[0].rows];
    const cellAt = (row, column) => rows[row]?.cells[column + 1];
    table.addEventListener("focus", () => {
      if (table.matches(":focus-visible") && rows.length) explain(cellAt(0, 0));
    });
    table.addEventListener("blur", () => { if (!isKept()) silent(); });
    table.addEventListener("keydown", (event) => {
      const move = MOVES[event.key];
      if (!move) return;
      event.preventDefault();
      const from = marked && table.contains(marked) ? entryAt(marked) : { row: 0, column: 0 };
      const next = cellAt(from.row + move[0], from.column + move[1]);
      if (next && from.column + move[1] >= 0) explain(next);
    });
  }

  // ---------------------------------------------------------------- plots

  const views = new Map();  // by the element of a plot, once it is drawn

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { labelColor: colour("--soft"), titleColor: colour("--ink"), gridColor: colour("--line"), domainColor: colour("--soft"), tickColor: colour("--soft"), labelFontSize: 12, titleFontSize: 13, labelLimit: 140, gridOpacity: 0.6 };
    return { background: null, font: getComputedStyle(document.body).fontFamily, axis, view: { stroke: null }, text: { color: colour("--ink"), fontSize: 12 } };
  }

  function unpacked(spec) {
    const datasets = {};
    for (const [name, { fields, is_text, texts, rows }] of Object.entries(spec.datasets)) {
      datasets[name] = rows.map((row) => Object.fromEntries(
        fields.map((field, i) => [field, is_text[i] && row[i] !== null ? texts[row[i]] : row[i]])));
    }
    return { ...structuredClone({ ...spec, datasets: {} }), datasets };
  }

  async function draw(plot) {
    if (!window.vegaEmbed || plot.hidden || plot.closest("details:not([open])")) return;
    views.get(plot)?.finalize();
    const spec = unpacked(data.plots[plot.dataset.plot]);
    const options = { mode: "vega-lite", renderer: "svg", actions: false, config: theme() };
    const found = await window.vegaEmbed(plot.querySelector(".drawing"), spec, options);
    views.set(plot, found);
    choose(plot);
  }

  function choose(plot) {
    const pressed = all(".legend button[aria-pressed=true]", plot).map((button) => button.dataset.line);
    views.get(plot)?.view.signal("chosen", pressed).runAsync();
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !views.has(entry.target) && window.vegaEmbed) draw(entry.target);
    }
  }, { rootMargin: "300px" });
  const watch = () => { seen.disconnect(); all(".plot").forEach((plot) => seen.observe(plot)); };
  window.addEventListener("vega", watch);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...views.keys()].forEach(draw));

  for (const plot of all(".plot")) {
    plot.addEventListener("click", (event) => {
      const button = event.target.closest(".legend button");
      if (!button) return;
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      choose(plot);
    });
  }

  for (const switched of all(".switched")) {
    const choices = all("select[data-choose]", switched);
    const show = () => {
      const wanted = Object.fromEntries(choices.map((choice) => [choice.dataset.choose, choice.value]));
      const plots = all(".plot", switched);
      const isWanted = (plot, number) => Object.entries(wanted).every(
        ([name, value]) => value === (name === "place" ? String(number) : plot.dataset[name]));
      // Not every metric has a plot along every axis: then the first of the metric.
      const found = plots.find(isWanted) || plots.find((plot) => plot.dataset.metric === wanted.metric);
      for (const plot of plots) plot.hidden = plot !== found;
      if (found && !views.has(found)) draw(found);
    };
    choices.forEach((choice) => choice.addEventListener("change", show));
  }

  document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
