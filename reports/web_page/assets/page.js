"use strict";
// Everything that came from a results file becomes a text node, never markup.

const page = JSON.parse(document.getElementById("data").textContent);
const cells = page.columns.case.map((_, row) =>
  Object.fromEntries(Object.entries(page.columns).map(([name, values]) => [name, values[row]])));
const looks = new Map(page.looks.map((look) => [look.variant, look]));
const filters = [["setup", "Device"], ["model", "Model"], ["mode", "Mode"], ["dtype", "Dtype"]];
const FEW_REASONS = 8; // so many stand open
const FEW_LENGTHS = 6; // as key_ticks has it in kinds.py
const EVERY = "All, side by side";
const picked = { setup: "", ...page.first };
const hidden = new Set();
let timeChart = "time";
let drawing = 0; // the number of the last draw; an older one that is still at work stops

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function unique(values) {
  return [...new Set(values)];
}

function matches(cell, names) {
  return names.every((name) => (name === "setup" && !picked.setup) || cell[name] === picked[name]);
}

// A later filter offers what the earlier ones leave, so that no choice of filters is empty.
function settleFilters() {
  let left = cells;
  for (const [name] of filters) {
    const values = unique(left.map((cell) => cell[name]));
    const everyDevice = name === "setup" && !picked.setup;
    if (!everyDevice && !values.includes(picked[name])) picked[name] = values[0];
    if (!everyDevice) left = left.filter((cell) => cell[name] === picked[name]);
  }
  const lengths = unique(left.map((cell) => cell.kv_len)).sort((a, b) => a - b);
  if (!lengths.includes(picked.length)) picked.length = lengths[lengths.length - 1];
  return lengths;
}

function showFilters() {
  const form = document.getElementById("filters");
  const focused = document.activeElement && document.activeElement.name;
  let left = cells;
  form.replaceChildren(...filters.map(([name, label]) => {
    const values = unique(left.map((cell) => cell[name]));
    left = left.filter((cell) => matches(cell, [name]));
    return picker(name, label, name === "setup" && values.length > 1 ? ["", ...values] : values);
  }));
  if (focused && form.elements[focused]) form.elements[focused].focus();
}

function picker(name, label, values) {
  const select = make("select", { name });
  for (const value of values) {
    select.append(make("option", { value, selected: String(picked[name]) === String(value) },
      value === "" ? EVERY : String(value)));
  }
  select.addEventListener("change", () => {
    picked[name] = name === "length" ? Number(select.value) : select.value;
    draw();
  });
  return make("label", {}, label, select);
}

function swatch(look) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "swatch");
  for (const [name, value] of [["width", 34], ["height", 14], ["viewBox", "0 0 34 14"], ["aria-hidden", "true"]]) {
    svg.setAttribute(name, value);
  }
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("d", "M0,7H34");
  line.setAttribute("stroke", look.colour);
  line.setAttribute("stroke-width", "1.8");
  line.setAttribute("stroke-dasharray", look.dash[1] ? look.dash.join(" ") : "none");
  const point = document.createElementNS(svg.namespaceURI, "path");
  point.setAttribute("d", look.shape);
  point.setAttribute("fill", look.colour);
  point.setAttribute("transform", "translate(17 7) scale(4.6)");
  svg.append(line, point);
  return svg;
}

function legend(variants) {
  return make("ul", { id: "legend", "aria-label": "Variants; uncheck one to hide it" },
    ...variants.map((variant) => {
      const box = make("input", { type: "checkbox", checked: !hidden.has(variant), name: variant });
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(variant);
        else hidden.add(variant);
        drawCharts();
      });
      return make("li", {}, make("label", {}, box, swatch(looks.get(variant)), variant));
    }));
}

function showAnswers(setups) {
  const answers = page.answers.filter((answer) =>
    setups.includes(answer.setup) &&
    answer.view.every((value, place) => value === picked[["model", "mode", "dtype"][place]]));
  document.getElementById("answers").replaceChildren(...answers.map((answer) =>
    make("div", { className: answers.length > 1 ? "answer" : "answer alone" },
      make("h3", {}, answer.setup),
      make("p", { className: "headline" }, answer.headline),
      make("p", {}, answer.by_how_much),
      answer.how_sure ? make("p", { className: "unsure" }, answer.how_sure) : null)));
}

// The cells that a chart takes, of all setups that are shown.
function cellsOf(chart) {
  const names = { modes: ["setup", "model", "dtype"], models: ["setup", "mode", "dtype"] }[chart.data];
  if (names) return cells.filter((cell) => cell.rank === 1 && matches(cell, names));
  const view = cells.filter((cell) => matches(cell, filters.map(([name]) => name)));
  const seen = view.filter((cell) => !hidden.has(cell.variant));
  return chart.data === "length" ? seen.filter((cell) => cell.kv_len === picked.length) : seen;
}

function drawable(chart, cell) {
  return chart.fields.every((field) => cell[field] > 0);
}

// The lengths to name on an axis: all of a few; of many the powers of two, or the ends.
function keyTicks(shown) {
  const lengths = unique(shown.map((cell) => cell.kv_len)).sort((a, b) => a - b);
  if (lengths.length <= FEW_LENGTHS) return lengths;
  const powers = lengths.filter((length) => Number.isInteger(Math.log2(length)));
  return powers.length ? powers : [lengths[0], lengths[lengths.length - 1]];
}

function figureOf(chart, setup, all, isOnly) {
  const shown = all.filter((cell) => cell.setup === setup);
  const saves = make("span", { className: "saves" });
  const figure = make("figure", {}, make("div", { className: "above" }, make("h3", { title: setup }, isOnly ? "" : setup), saves));
  if (!shown.length) {
    figure.append(make("p", { className: "empty" }, "Nothing of this was measured here."));
    return [figure, null];
  }
  const wide = chart.data === "modes" || chart.data === "models";
  const box = make("div", { className: wide ? "chart wide" : "chart" });
  if (wide) {
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", `${chart.title}, ${setup}`]]) {
      box.setAttribute(name, value);
    }
  }
  figure.append(box);
  const params = chart.spec.params.map((param) => ({ ...param, value: keyTicks(all) }));
  const spec = { ...chart.spec, params, datasets: { shown, all_shown: all } };
  if (!wide) Object.assign(spec, { width: "container", autosize: { type: "fit", contains: "padding" } });
  return [figure, async () => {
    const { view } = await window.vegaEmbed(box, spec, { renderer: "svg", actions: false });
    saves.append(...["svg", "png"].map((form) => saveButton(view, chart, setup, form)));
  }];
}

function saveButton(view, chart, setup, form) {
  const label = `Save ${chart.title}, ${setup}, as ${form.toUpperCase()}`;
  const button = make("button", { type: "button", title: label, "aria-label": label }, form.toUpperCase());
  button.addEventListener("click", async () => {
    const address = await view.toImageURL(form, form === "png" ? 2 : 1);
    make("a", { href: address, download: `${chart.name}.${form}` }).click();
  });
  return button;
}

function sectionOf(chart, lengths, variants) {
  const isTime = chart.name === timeChart;
  const heading = make("h2", {}, chart.title);
  const parts = [heading, make("p", { className: "caption" }, chart.caption)];
  if (isTime) parts.push(timeSwitch(), legend(variants));
  if (chart.data === "length") {
    const pick = picker("length", "Keys", lengths);
    pick.className = "pick";
    parts.push(pick);
  }
  const all = cellsOf(chart).filter((cell) => drawable(chart, cell));
  const setups = shownSetups();
  const figures = setups.map((setup) => figureOf(chart, setup, all, setups.length === 1));
  parts.push(make("div", { className: chart.data.startsWith("mod") ? "in-a-row" : "side-by-side" }, ...figures.map(([figure]) => figure)));
  const section = make("section", { id: `chart-${isTime ? "time" : chart.name}` }, ...parts);
  return [section, figures.map(([, start]) => start).filter(Boolean)];
}

function timeSwitch() {
  const set = make("fieldset", { className: "switch", "aria-label": "What the first chart shows" });
  for (const [name, words] of [["time", "time of a call"], ["ratio", "ratio to bias-free attention"]]) {
    const radio = make("input", { type: "radio", name: "time-chart", value: name, checked: timeChart === name });
    radio.addEventListener("change", async () => {
      timeChart = name;
      await drawCharts();
      document.querySelector(`input[name=time-chart][value=${name}]`).focus();
    });
    set.append(make("label", {}, radio, words));
  }
  return set;
}

function shownSetups() {
  return unique(cells.filter((cell) => matches(cell, filters.map(([name]) => name))).map((cell) => cell.setup));
}

async function drawCharts() {
  const mine = ++drawing;
  document.body.dataset.drawn = "no";
  const view = cells.filter((cell) => matches(cell, filters.map(([name]) => name)));
  const lengths = unique(view.map((cell) => cell.kv_len)).sort((a, b) => a - b);
  const present = new Set(view.map((cell) => cell.variant));
  const variants = page.looks.map((look) => look.variant).filter((variant) => present.has(variant));
  const charts = page.charts.filter((chart) => !["time", "ratio"].includes(chart.name) || chart.name === timeChart);
  const focused = document.activeElement && document.activeElement.name;
  const sections = charts.map((chart) => sectionOf(chart, lengths, variants));
  document.getElementById("charts").replaceChildren(...sections.map(([section]) => section));
  if (focused) {
    const again = document.querySelector(`#charts [name="${CSS.escape(focused)}"]`);
    if (again) again.focus();
  }
  for (const start of sections.flatMap(([, starts]) => starts)) {
    if (mine !== drawing) return;
    await start();
  }
  if (mine === drawing) document.body.dataset.drawn = "yes";
}

function digits(value) {
  if (value === null) return "";
  return value >= 99.95 ? value.toFixed(0) : value >= 0.01 ? value.toPrecision(3) : value.toFixed(4);
}

function table(headers, rows) {
  const figure = (place) => (headers[place].startsWith("#") ? "figure" : "");
  return make("table", {},
    make("thead", {}, make("tr", {}, ...headers.map((header, place) =>
      make("th", { scope: "col", className: figure(place) }, header.replace("#", ""))))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((value, place) =>
      value instanceof Element ? value : make("td", { className: figure(place) }, value))))));
}

function commandOf(cell) {
  if (cell.command === null) {
    return make("td", {}, "its slopes or scale came from a file of models that is not in the results");
  }
  const copy = make("button", { type: "button", "aria-label": `Copy the command of ${cell.variant} at ${cell.length}` }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(cell.command);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(copy.nextElementSibling);
      copy.textContent = "Selected";
    }
  });
  const words = cell.command.split(" --").map((word, place) =>
    make("span", {}, place ? `--${word}` : word));
  const code = make("code", {}, ...words.flatMap((word, place) => (place ? [" ", word] : [word])));
  return make("td", {}, make("div", { className: "command" }, copy, code));
}

function interval(bounds) {
  return bounds === null ? "" : `${digits(bounds[0])} to ${digits(bounds[1])}`;
}

function showCells(view) {
  const rows = view.map((cell) => [
    make("td", { className: "name" }, cell.variant),
    cell.length,
    digits(cell.time_ms),
    interval(cell.time_ci_ms),
    cell.vs_no_bias === null ? "" : `${digits(cell.vs_no_bias)}x`,
    cell.peak_bytes === null ? "" : (cell.peak_bytes / 1048576).toFixed(2),
    cell.error === null ? "" : cell.error.toExponential(1),
    cell.error_budget === null ? "" : cell.error_budget.toExponential(1),
    make("td", { className: "name" }, cell.place),
    commandOf(cell),
  ]);
  const headers = ["variant", "#keys", "#ms", "#95% interval", "#vs no_bias", "#peak MiB", "#error", "#budget", "rank", "measure it again"];
  const setups = unique(view.map((cell) => cell.setup));
  document.getElementById("cells").replaceChildren(...setups.map((setup) => {
    const own = rows.filter((_, place) => view[place].setup === setup);
    return make("details", {}, make("summary", {}, `${setup}: ${own.length} cells`), table(headers, own));
  }));
}

function showStatuses(view) {
  const gone = view.filter((cell) => cell.status !== "measured");
  const parts = [...groupBy(gone, (cell) => cell.setup)].map(([setup, own]) => {
    const rows = [...groupBy(own, statusKey).values()].map((alike) => [
      make("td", { className: "name" }, alike[0].variant),
      make("td", { className: "name" }, alike[0].status),
      alike.map((cell) => cell.length).join(", "),
      make("td", { className: "reason" }, alike[0].reason || ""),
    ]).sort((a, b) => a[0].textContent.localeCompare(b[0].textContent));
    const counts = [...groupBy(own, (cell) => cell.status)].map(([status, each]) => `${each.length} ${status}`);
    return make("details", { open: rows.length <= FEW_REASONS },
      make("summary", {}, `${setup}: ${counts.join(", ")}`),
      table(["variant", "status", "keys", "reason"], rows));
  });
  document.getElementById("statuses").replaceChildren(...(parts.length
    ? parts
    : [make("p", { className: "caption" }, "Every cell that these filters show was measured.")]));
}

function statusKey(cell) {
  return JSON.stringify([cell.variant, cell.status, cell.reason]);
}

function groupBy(values, key) {
  const groups = new Map();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) || []), value]);
  return groups;
}

function showFingerprint(setups) {
  const parts = page.setups.filter((setup) => setups.includes(setup.name)).flatMap((setup) => [
    make("h3", {}, setup.name),
    make("p", { className: "caption" }, setup.conditions),
    ...setup.cautions.map((line) => make("p", { className: "caption" }, line)),
    table(["fact", "value"], setup.facts.map(([name, value]) => [
      make("td", { className: "name" }, name), make("td", { className: "reason" }, value)])),
  ]);
  document.getElementById("fingerprint").replaceChildren(...parts);
}

function draw() {
  settleFilters();
  showFilters();
  const setups = shownSetups();
  const view = cells.filter((cell) => matches(cell, filters.map(([name]) => name)))
    .sort((a, b) => a.kv_len - b.kv_len || (a.rank || 1e9) - (b.rank || 1e9));
  showAnswers(setups);
  showStatuses(view);
  showCells(view);
  showFingerprint(setups);
  return drawCharts();
}

draw();
