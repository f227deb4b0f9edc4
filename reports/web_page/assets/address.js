// What is picked, as the part of the page's address after #, so that a view can be linked.

const WORDS = [["device", "setup"], ["model", "model"], ["mode", "mode"], ["dtype", "dtype"]];
const opening = { setup: "", ...page.first };

function words(values) {
  return `#${new URLSearchParams(values)}`;
}

function addressOf(values) {
  return words(WORDS.map(([word, name]) => [word, values[name]]).concat([["keys", values.length]])
    .filter(([word, value]) => String(value) !== String(opening[word === "keys" ? "length" : nameOf(word)])));
}

function nameOf(word) {
  return WORDS.find(([each]) => each === word)[1];
}

// Takes what the address sets. Of what it leaves open, it takes what is nearest to the opening view.
function readAddress() {
  const set = new URLSearchParams(location.hash.slice(1));
  qualityView = set.get("quality") || "";
  if (!cells.length) return;
  const given = WORDS.filter(([word]) => set.has(word)).map(([word, name]) => [name, set.get(word)]);
  const fits = cells.filter((cell) => given.every(([name, value]) => cell[name] === value));
  const likeness = (cell) => filters.filter(([name]) => cell[name] === opening[name]).length;
  const nearest = fits.reduce((best, cell) => (best && likeness(best) >= likeness(cell) ? best : cell), null);
  say(nearest ? "" : `These results have no ${given.map(([, value]) => value).join(", ")}, which the address names. This is what the page opens with.`);
  Object.assign(picked, opening);
  if (nearest) {
    for (const [name] of filters) picked[name] = nearest[name];
    picked.setup = set.get("device") || "";
    if (set.has("keys")) picked.length = Number(set.get("keys"));
  }
  timeChart = set.get("chart") === "ratio" ? "ratio" : "time";
  hidden.clear();
  for (const variant of set.getAll("hide")) hidden.add(variant);
}

function writeAddress() {
  const set = new URLSearchParams(addressOf(picked).slice(1));
  if (timeChart === "ratio") set.set("chart", "ratio");
  for (const variant of hidden) set.append("hide", variant);
  if (page.quality && qualityView && qualityView !== page.quality.views[0].name) set.set("quality", qualityView);
  const text = String(set);
  try {
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  } catch (error) {
    if (error.name !== "SecurityError") throw error; // a frame without an address of its own
  }
}

function say(text) {
  document.getElementById("notice").textContent = text;
}

addEventListener("hashchange", () => {
  if (location.hash && !location.hash.includes("=")) return; // a place in the page
  readAddress();
  draw();
});
