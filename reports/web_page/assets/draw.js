// Draws all that the filters show; the last of the page's programs.

function draw() {
  if (!cells.length) return drawCharts();
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

readAddress();
draw();
