// Statuses, cells with their commands, and the fingerprint.

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
    return make("details", {}, make("summary", {}, `${setup}: ${counted(own.length, "cell")}`), table(headers, own));
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
