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
let qualityView = ""; // the name of a view in page.quality; empty for the first
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

function counted(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
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

function shownSetups() {
  return unique(cells.filter((cell) => matches(cell, filters.map(([name]) => name))).map((cell) => cell.setup));
}

function groupBy(values, key) {
  const groups = new Map();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) || []), value]);
  return groups;
}
