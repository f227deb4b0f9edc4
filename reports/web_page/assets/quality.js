// Quality beyond the trained length: bits per byte by position method, and beside what each costs.

const bought = page.quality; // null without files of `lengths`

// Shows the section, and returns what draws its charts.
function showQuality() {
  const section = document.getElementById("quality");
  section.hidden = !bought;
  if (!bought) return [];
  const view = bought.views.find(({ name }) => name === qualityView) || bought.views[0];
  const blocks = bought.files.map((file) => bitsOf(file, view));
  const priced = bought.files.flatMap((file) => file.costs.map((costs) => costsOf(file, costs)));
  if (cells.length) linkToQuality();
  section.replaceChildren(
    make("h2", {}, bought.heading),
    ...bought.files.map(answerOfFile),
    viewSwitch(view),
    looksList(view.looks),
    make("p", { className: "caption" }, "Bits per byte by the length that models were tested at, a line for each position method; both charts share their scale. A bar is the range over seeds."),
    ...blocks.map(([part]) => part),
    ...(priced.length ? [
      make("h3", {}, "Beside what attention costs"),
      make("p", { className: "caption" }, "Across, the time of a prefill's attention over bias-free attention's in the same race, with its 95% interval; upward, bits per byte of the same targets, with the range over seeds. Lower and farther left is better."),
      looksList(bought.cost.looks),
      ...priced.map(([part]) => part),
    ] : []),
    ...bought.files.map(figuresOf),
  );
  return [...blocks, ...priced].flatMap(([, starts]) => starts);
}

function linkToQuality() {
  document.getElementById("bought").replaceChildren(
    make("a", { href: "#quality" }, bought.heading), `: ${bought.files[0].answer.headline}.`);
}

// Larger where it is the answer of the whole page.
function answerOfFile(file) {
  const several = bought.files.length > 1;
  return make("div", { className: several ? "answer" : "answer alone" },
    several ? make("h3", {}, file.name) : null,
    make("p", { className: cells.length ? "verdict" : "headline" }, `${file.answer.headline}.`),
    make("p", { className: "caption" }, file.answer.details));
}

function viewSwitch(view) {
  const set = make("fieldset", { className: "switch", "aria-label": "Which tests the charts show" });
  for (const { name, title } of bought.views) {
    const radio = make("input", { type: "radio", name: "quality-view", value: name, checked: name === view.name });
    radio.addEventListener("change", async () => {
      qualityView = name;
      writeAddress();
      await drawCharts();
    });
    set.append(make("label", {}, radio, title));
  }
  return set;
}

function looksList(shown) {
  return make("ul", { className: "looks" }, ...shown.map((look) => make("li", {}, swatch(look), look.variant)));
}

// The two measures of a file side by side, and what draws them.
function bitsOf(file, view) {
  const names = new Set(view.looks.map((look) => look.variant));
  const all = file.points.filter((point) => names.has(point.series));
  const heading = bought.files.length > 1 ? make("h3", {}, file.name) : "";
  const present = unique(all.map((point) => point.series));
  if (present.length < Math.min(2, names.size)) return [make("div", {}, heading, make("p", { className: "empty" }, "This file has no such tests.")), []];
  const lengths = unique(all.map((point) => point.length)).sort((a, b) => a - b);
  const params = view.spec.params.map((param) => ({ ...param, value: lengths }));
  const chart = { name: `quality-${view.name}`, title: "Bits per byte" };
  const figures = file.tables.map(({ measure, title }) => plotted(chart, title,
    { ...view.spec, params, datasets: { shown: all.filter((point) => point.measure === measure), all_shown: all } }));
  return [make("div", {}, heading, make("div", { className: "side-by-side" }, ...figures.map(([figure]) => figure))),
    figures.map(([, start]) => start)];
}

// Quality by cost in a setup, a chart for each length, and the costs in all modes.
function costsOf(file, costs) {
  const { title, note, headers, rows } = costs.table;
  const chart = { name: "quality-cost", title: "Quality against cost" };
  const figures = [...groupBy(costs.points, (point) => point.multiple)].map(([multiple, own]) =>
    plotted(chart, `${multiple}x the trained length: ${own[0].length} tokens`,
      { ...bought.cost.spec, datasets: { shown: own, all_shown: costs.points } }));
  const place = bought.files.length > 1 ? `${costs.setup}, ${file.name}` : costs.setup;
  return [make("div", {},
    make("h3", {}, place),
    make("p", {}, `${costs.headline}.`),
    make("div", { className: "panels" }, ...figures.map(([figure]) => figure)),
    make("details", {}, make("summary", {}, title),
      make("p", { className: "caption" }, `${note}.`), scrolled(`${title}, ${place}`, headers, 2, rows))),
  figures.map(([, start]) => start)];
}

// A figure with a heading, and what draws it.
function plotted(chart, heading, spec) {
  const saves = make("span", { className: "saves" });
  const box = make("div", { className: "chart" });
  const figure = make("figure", {}, make("div", { className: "above" }, make("h3", {}, heading), saves), box);
  return [figure, () => embed(box, saves, fitted(spec), chart, heading)];
}

// Every figure of a file, folded, and what it was measured on.
function figuresOf(file) {
  return make("details", {},
    make("summary", {}, bought.files.length > 1 ? `Every figure: ${file.name}` : "Every figure, and what it was measured on"),
    make("p", { className: "caption" }, file.notes.join(" ")),
    ...file.tables.flatMap(({ title, headers, rows }) => [
      make("p", { className: "caption" }, `${title}:`), scrolled(`${title}, ${file.name}`, headers, 1, rows)]));
}

// A table that scrolls in itself, the columns after the first `words` of which are figures.
function scrolled(label, headers, words, rows) {
  const marked = headers.map((header, place) => (place < words ? header : `#${header}`));
  const named = rows.map(([first, ...others]) => [make("td", { className: "name" }, first), ...others]);
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": label }, table(marked, named));
}
