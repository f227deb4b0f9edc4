// Each cell from run to run: a panel for each, the steps in them, and its status in every run.

const past = page.history;
const CAUSES = { environment: "■", machine: "◆" };
const FEW_LINES = 40; // so many stand open in the grid of statuses
const MOST_STEPPED = 12; // so many cells with a step have a panel whatever the length

function isShown(device) {
  return !picked.setup || device.setups.includes(picked.setup);
}

function shownTimelines() {
  const devices = past.devices.filter(isShown).map((device) => device.name);
  return past.timelines.filter(({ cell }) => devices.includes(cell.device) &&
    ["model", "mode", "dtype"].every((name) => cell[name] === picked[name]));
}

function signOf(step) {
  return CAUSES[step.cause] || (step.change > 0 ? "▲" : "▼");
}

function percent(share) {
  return `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}%`;
}

function runOf(cell, number) {
  const [started, commit] = past.devices.find((device) => device.name === cell.device).runs[number];
  return { started: started.slice(0, 16).replace("T", " "), commit };
}

// Shows the section, and returns what draws its panels.
function showOverTime() {
  const section = document.getElementById("over-time");
  section.hidden = !past;
  if (!past) return [];
  document.getElementById("past").replaceChildren(
    make("a", { href: "#over-time" }, "From run to run"), `: ${past.summary}.`);
  const all = shownTimelines();
  const own = all.filter(({ cell }) => !hidden.has(cell.variant));
  const lengths = unique(own.map(({ cell }) => cell.kv_len)).sort((a, b) => a - b);
  const length = lengths.includes(picked.length) ? picked.length : lengths[lengths.length - 1];
  const first = bySize(own).slice(0, MOST_STEPPED);
  const stepped = panelsOf(first);
  const others = panelsOf(own.filter((each) => each.cell.kv_len === length && !first.includes(each) && hasTime(each)));
  section.replaceChildren(
    make("h2", {}, "From run to run"),
    make("p", { className: "verdict" }, `${past.summary}.`),
    past.lacks ? make("p", { className: "caption" }, `${past.lacks}. Until then the points are drawn without steps.`) : "",
    ...stepsOf(own),
    ...elsewhere(),
    ...(own.length ? [
      key(),
      ...stepped.map(([part]) => part),
      lengthPicker(lengths, length, first.length ? "The other cells" : "Cells"),
      ...others.map(([part]) => part),
      gridOf(own),
    ] : [make("p", { className: "empty" }, "No cell that these filters show was measured in two runs.")]),
  );
  return [...stepped, ...others].flatMap(([, starts]) => starts);
}

// A cell without any time is in the grid of statuses alone.
function hasTime({ points }) {
  return points.some((point) => point.time_ms);
}

function lengthPicker(lengths, length, which) {
  const pick = picker("length", `${which} of so many keys:`, lengths, length);
  pick.className = "pick";
  return pick;
}

// The timelines that have steps: regressions first, then by the size of the largest step.
function bySize(timelines) {
  const regressed = ({ steps }) => Number(steps.some((step) => step.is_regression));
  const size = ({ steps }) => Math.max(...steps.map((step) => Math.abs(step.change)));
  return timelines.filter(({ steps }) => steps.length)
    .sort((a, b) => regressed(b) - regressed(a) || size(b) - size(a));
}

function key() {
  return make("p", { className: "caption" },
    "Each panel is a cell: its time in each run, with the 95% interval over passes where there are three. " +
    "A hollow point was disturbed by other processes and has no say in steps; a letter stands for a run without a time. " +
    "A step has a dashed line and a sign: ▲ slower and ▼ faster by the code, ■ the environment's, ◆ the machine's.");
}

function stepsOf(timelines) {
  const found = timelines.flatMap(({ cell, steps }) => steps.map((step) => ({ cell, step })))
    .sort((a, b) => b.step.is_regression - a.step.is_regression || Math.abs(b.step.change) - Math.abs(a.step.change));
  if (!found.length) return [];
  const rows = found.map(({ cell, step }) => [
    `${signOf(step)} ${percent(step.change)}`,
    step.change_ci.map(percent).join(" to "),
    step.cause,
    make("td", { className: "name" }, cell.variant),
    make("td", { className: "figure keys" }, make("a", { href: addressOf({ ...picked, length: cell.kv_len }), title: "Show this cell" }, cell.length)),
    make("td", { className: "name" }, step.first_code),
    make("td", { className: "name" }, runOf(cell, step.run).started.slice(0, 10)),
    make("td", { className: "reason" }, whyOf(step)),
  ]);
  const headers = ["#change", "#95% interval", "cause", "variant", "#keys", "first commit", "began", "why"];
  return [make("div", { className: "scroll", tabIndex: 0, id: "steps", role: "region", "aria-label": "Steps" }, table(headers, rows))];
}

function whyOf(step) {
  const others = step.other_codes.length ? `or the step of ${step.other_codes.join(", ")}` : "";
  return [step.reason, others].filter(Boolean).join("; ");
}

// Steps that the filters leave out, with a link to each view that has some.
function elsewhere() {
  const shown = new Set(shownTimelines());
  const away = past.timelines.filter((each) => each.steps.length && !shown.has(each));
  const links = [...groupBy(away, ({ cell }) => JSON.stringify([cell.model, cell.mode, cell.dtype]))]
    .map(([view, own]) => {
      const [model, mode, dtype] = JSON.parse(view);
      const count = own.reduce((sum, each) => sum + each.steps.length, 0);
      const regressed = own.reduce((sum, each) => sum + each.steps.filter((step) => step.is_regression).length, 0);
      return make("li", {}, make("a", { href: addressOf({ setup: "", model, mode, dtype, length: own[0].cell.kv_len }) },
        `${mode}, ${dtype}, ${model}`), `: ${counted(count, "step")}, ${regressed} regressed`);
    });
  return links.length ? [make("p", { className: "caption" }, "Steps that these filters leave out:"), make("ul", { className: "links" }, ...links)] : [];
}

function panelsOf(timelines) {
  return [...groupBy(timelines, ({ cell }) => cell.device)].map(([device, own]) => {
    const figures = own.map(panelOf);
    const grid = make("div", { className: "panels" }, ...figures.map(([figure]) => figure));
    const heading = past.devices.length > 1 ? [make("h3", {}, device)] : [];
    return [make("div", { className: "device" }, ...heading, grid), figures.map(([, start]) => start)];
  });
}

function panelOf({ cell, points, steps }) {
  const box = make("div", { className: "chart" });
  const figure = make("figure", {}, make("h3", { title: cell.variant }, `${cell.variant}, ${cell.length} keys`), box);
  const { runs } = past.devices.find((device) => device.name === cell.device);
  const named = (row) => ({ ...row, ...runOf(cell, row.run) });
  const rows = points.map((point) => named({ status: "measured", time_ms: null, time_ci_ms: null, ...point }));
  const datasets = { points: rows, steps: steps.map(named), frame: frameOf(rows, runs.length) };
  const values = { run_names: runs.map(([started, commit]) => [commit.slice(0, 7), started.slice(0, 10)]), run_ticks: ticksOf(runs.length) };
  const spec = {
    ...past.panel,
    description: `Time of ${cell.variant} at ${cell.length} keys in each run`,
    params: past.panel.params.map((param) => ({ ...param, value: values[param.name] })),
    datasets,
    width: "container",
    autosize: { type: "fit", contains: "padding" },
    padding: { top: 16, bottom: 4, left: 4, right: 10 },
  };
  return [figure, () => window.vegaEmbed(box, spec, { renderer: "svg", actions: false })];
}

// The corners of a panel: all runs, and at least 2% around the times, so that noise looks like noise.
function frameOf(rows, runs) {
  const ends = rows.filter((row) => row.time_ms !== null).flatMap((row) => row.time_ci_ms || [row.time_ms]);
  const [low, high] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [1, 1];
  return [{ run: 0, time_ms: low * 0.98 }, { run: Math.max(runs - 1, 1), time_ms: high * 1.02 }];
}

// Three runs to name on an axis: the first, the middle one and the last.
function ticksOf(runs) {
  return unique([0, Math.floor((runs - 1) / 2), runs - 1]);
}

function gridOf(timelines) {
  const parts = [...groupBy(timelines, ({ cell }) => cell.device)].map(([name, own]) => {
    const { runs } = past.devices.find((device) => device.name === name);
    const sorted = own.sort((a, b) => a.cell.kv_len - b.cell.kv_len);
    const head = make("tr", {}, make("th", { scope: "col" }, "variant"), make("th", { scope: "col", className: "figure" }, "keys"),
      ...runs.map(([started, commit]) => make("th", { scope: "col", className: "run", title: `${commit}, ${started}` }, make("span", {}, commit.slice(0, 7)))));
    const lines = sorted.map(({ cell, points, steps }) => {
      const byRun = new Map(points.map((point) => [point.run, point]));
      const stepAt = new Map(steps.map((step) => [step.run, step]));
      return make("tr", {}, make("th", { scope: "row" }, cell.variant), make("td", { className: "figure" }, cell.length),
        ...runs.map((_, run) => statusOf(cell, byRun.get(run), stepAt.get(run), run)));
    });
    const grid = make("table", { className: "runs" }, make("thead", {}, head), make("tbody", {}, ...lines));
    return make("details", { open: lines.length <= FEW_LINES },
      make("summary", {}, `${past.devices.length > 1 ? `${name}: ` : ""}the status of ${counted(lines.length, "cell")} in ${counted(runs.length, "run")}`),
      make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `Statuses by run, ${name}` }, grid));
  });
  return make("div", { id: "status-grid" }, ...parts, make("p", { className: "caption" }, LETTERS));
}

const LETTERS = "· measured, ○ measured while other processes disturbed it, blank: not in that run; " +
  "U unsupported, D disagrees, I implausible, O out of memory, S skipped, T timed out, C crashed, F failed; " +
  "▲ ▼ ■ ◆ a step begins here.";

function statusOf(cell, point, step, run) {
  if (!point) return make("td", { className: "run" });
  const status = point.status || "measured";
  const letter = status !== "measured" ? status[0].toUpperCase() : step ? signOf(step) : point.disturbed ? "○" : "·";
  const { started, commit } = runOf(cell, run);
  const stepWords = step ? `, ${percent(step.change)} ${step.cause}` : "";
  const words = `${status}${point.disturbed ? ", disturbed" : ""}${stepWords}${point.reason ? `: ${point.reason}` : ""}`;
  return make("td", { className: `run${status === "measured" ? "" : " gone"}`, title: `${commit}, ${started}: ${words}`, "aria-label": words }, letter);
}
