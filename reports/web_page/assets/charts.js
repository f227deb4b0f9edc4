// The charts of the cells that the filters show.

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
  const whole = { ...chart.spec, params, datasets: { shown, all_shown: all } };
  const spec = wide ? whole : fitted(whole);
  if (chart.data === "length") spec.height = Math.max(spec.height, 90 + 15 * shown.length); // as height_for has it
  return [figure, () => embed(box, saves, spec, chart, setup)];
}

// A chart that is as wide as what it stands in.
function fitted(spec) {
  return { ...spec, width: "container", autosize: { type: "fit", contains: "padding" } };
}

async function embed(box, saves, spec, chart, label) {
  const { view } = await window.vegaEmbed(box, spec, { renderer: "svg", actions: false });
  saves.append(...["svg", "png"].map((form) => saveButton(view, chart, label, form)));
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

// The section of a chart and what draws it; null if nothing that it shows was measured.
function sectionOf(chart, lengths, variants) {
  const isTime = chart.name === timeChart;
  const all = cellsOf(chart).filter((cell) => drawable(chart, cell));
  if (!all.length && !isTime) return null;
  const heading = make("h2", {}, chart.title);
  const parts = [heading, make("p", { className: "caption" }, chart.caption)];
  if (isTime) parts.push(timeSwitch(), legend(variants));
  if (chart.data === "length") {
    const pick = picker("length", "Keys", lengths);
    pick.className = "pick";
    parts.push(pick);
  }
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
      writeAddress();
      await drawCharts();
      document.querySelector(`input[name=time-chart][value=${name}]`).focus();
    });
    set.append(make("label", {}, radio, words));
  }
  return set;
}

// The part of the page that an element with a name stands in.
function placeOf(element) {
  return ["over-time", "quality"].find((part) => element.closest(`#${part}`)) || "charts";
}

async function drawCharts() {
  const mine = ++drawing;
  document.body.dataset.drawn = "no";
  const view = cells.filter((cell) => matches(cell, filters.map(([name]) => name)));
  const lengths = unique(view.map((cell) => cell.kv_len)).sort((a, b) => a - b);
  const present = new Set(view.map((cell) => cell.variant));
  const variants = page.looks.map((look) => look.variant).filter((variant) => present.has(variant));
  const charts = !cells.length ? [] : page.charts.filter((chart) => !["time", "ratio"].includes(chart.name) || chart.name === timeChart);
  const focused = document.activeElement && document.activeElement.name;
  const place = focused && placeOf(document.activeElement);
  const whole = charts.map((chart) => sectionOf(chart, lengths, variants));
  const sections = whole.filter(Boolean);
  const empty = charts.filter((_, place) => !whole[place]).map((chart) => chart.title);
  document.getElementById("charts").replaceChildren(...sections.map(([section]) => section),
    empty.length ? make("p", { className: "caption empty" }, `Not drawn, because nothing of it was measured here: ${empty.join("; ")}.`) : "");
  const others = [...showOverTime(), ...showQuality()];
  if (focused) {
    const again = document.querySelector(`#${place} [name="${CSS.escape(focused)}"]:is(:checked, :not([type=radio]))`);
    if (again) again.focus();
  }
  for (const start of [...sections.flatMap(([, starts]) => starts), ...others]) {
    if (mine !== drawing) return;
    await start();
  }
  if (mine === drawing) document.body.dataset.drawn = "yes";
}
