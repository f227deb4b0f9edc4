// The filters, the legend, and the answer to what they set.

function showFilters() {
  const form = document.getElementById("filters");
  const focused = document.activeElement && document.activeElement.name;
  let left = cells;
  form.replaceChildren(...filters.map(([name, label]) => {
    const values = unique(left.map((cell) => cell[name]));
    left = left.filter((cell) => matches(cell, [name]));
    return picker(name, label, name === "setup" && values.length > 1 ? ["", ...values] : values);
  }));
  const again = focused && form.elements.namedItem(focused);
  if (again) again.focus();
}

function picker(name, label, values, value = picked[name]) {
  const select = make("select", { name });
  for (const each of values) {
    select.append(make("option", { value: each, selected: String(each) === String(value) },
      each === "" ? EVERY : String(each)));
  }
  select.addEventListener("change", () => {
    picked[name] = name === "length" ? Number(select.value) : select.value;
    say("");
    settleFilters();
    writeAddress();
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
        writeAddress();
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
      answer.doubt ? make("p", { className: "doubt" }, answer.doubt) : null,
      make("p", { className: "headline" }, answer.headline),
      make("p", {}, answer.by_how_much),
      answer.how_sure ? make("p", { className: "unsure" }, answer.how_sure) : null)));
}
