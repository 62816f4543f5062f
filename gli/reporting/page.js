"use strict";
// What the pages of a report add where scripts run: tables to sort and filter, and a chart to choose runs in.
// The script asks for nothing from the network. Without it, the page shows the same tables and drawn figures.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  // The colours that readers with a colour vision deficiency can tell apart (Okabe and Ito).
  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "currentColor"];
  const SHAPES = [
    "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0-5 0Z", "M-4.5-4.5H4.5V4.5H-4.5Z", "M0-6L6 0L0 6L-6 0Z", "M-5.5-4.5H5.5L0 5.5Z",
    "M-5.5 4.5H5.5L0-5.5Z", "M4.5-5.5V5.5L-5.5 0Z", "M-4.5-5.5V5.5L5.5 0Z", "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
  ];
  // Pixels: how far a pointer reaches, and how near to each other two points cannot be told apart.
  const REACH = 16;
  const COVERED = 3;
  const MARGIN = { left: 52, right: 14, top: 12, bottom: 42 };

  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function draw(name, attributes = {}, ...children) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  // -- tables --------------------------------------------------------------------------------------------------------

  /** Return the number that a cell begins with, or NaN: "1,024" is 1024, "0.368 ± 0.030 (0.4)" is 0.368. */
  function leadingNumber(text) {
    const match = /^[+-]?\d[\d,]*(\.\d+)?/.exec(text);
    return match ? Number(match[0].replaceAll(",", "")) : NaN;
  }

  /** Return the text of a cell; of one with a choice, what is chosen. */
  function textOf(cell) {
    const chosen = cell.querySelector("input:checked");
    return chosen ? chosen.value : cell.textContent.trim();
  }

  function cellText(row, column) {
    return textOf(row.cells[column]);
  }

  /** Return the rows in the order of a column; cells without a value come last in both directions. */
  function sorted(rows, column, descending) {
    const known = rows.filter((row) => !["", "-"].includes(cellText(row, column)));
    const numeric = known.every((row) => !Number.isNaN(leadingNumber(cellText(row, column))));
    const compare = numeric
      ? (a, b) => leadingNumber(cellText(a, column)) - leadingNumber(cellText(b, column))
      : (a, b) => cellText(a, column).localeCompare(cellText(b, column), "en", { numeric: true });
    known.sort((a, b) => (descending ? compare(b, a) : compare(a, b)));
    return [...known, ...rows.filter((row) => !known.includes(row))];
  }

  /** Put a button into each heading. It sorts the best first, then the worst first, then as the page was written. */
  function makeSortable(table) {
    const body = table.tBodies[0];
    const written = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const heading = head.textContent.trim();
      if (!heading) return;
      const arrow = make("span", { "aria-hidden": "true" });
      const button = make("button", { type: "button", title: "Sort by this column" }, heading, arrow);
      head.replaceChildren(button);
      const order = heading.endsWith("↑") ? ["descending", "ascending"] : ["ascending", "descending"];
      button.addEventListener("click", () => {
        const next = order[order.indexOf(head.getAttribute("aria-sort")) + 1];
        for (const other of heads) {
          other.removeAttribute("aria-sort");
          for (const mark of other.querySelectorAll("span")) mark.textContent = "";
        }
        if (next) {
          head.setAttribute("aria-sort", next);
          arrow.textContent = next === "ascending" ? " ▲" : " ▼";
        }
        body.append(...(next ? sorted(written, column, next === "descending") : written));
      });
    });
  }

  /** Put a field above a table that leaves the rows with all of its words. */
  function makeFilterable(table, label) {
    const rows = [...table.tBodies[0].rows];
    const field = make("input", { type: "search", "aria-label": `Filter the rows: ${label}`, placeholder: "Filter rows" });
    const count = make("span", { role: "status" });
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const row of rows) {
        const text = [...row.cells].map(textOf).join(" ").toLowerCase();
        const matches = words.every((word) => text.includes(word));
        row.classList.toggle("filtered", !matches);
        left += matches;
      }
      count.textContent = words.length ? `${left} of ${rows.length} rows` : "";
    });
    table.parentElement.before(make("div", { class: "controls" }, field, count));
  }

  // -- the chart -----------------------------------------------------------------------------------------------------

  function known(value) {
    return typeof value === "number";
  }

  function shown(value) {
    return known(value) ? value.toFixed(3) : "-";
  }

  /** Return the limits of an axis and the values of its marks, at round numbers. */
  function axisOf(values) {
    let low = Math.min(...values);
    let high = Math.max(...values);
    if (!(high > low)) [low, high] = [low - 0.05, high + 0.05];
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const first = Math.floor(low / step);
    const last = Math.ceil(high / step);
    const marks = Array.from({ length: last - first + 1 }, (_, place) => (first + place) * step);
    return { low: marks[0], high: marks[marks.length - 1], marks, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  function details(result, scores) {
    const values = scores
      .filter((score) => known(result[score.name]))
      .map((score) => {
        const [low, high] = [result[`${score.name}_low`], result[`${score.name}_high`]];
        return `${score.heading.replace(/ [↑↓]$/, "")} ${shown(result[score.name])}` + (known(low) ? ` [${shown(low)}, ${shown(high)}]` : "");
      });
    return `${result.method}, seed ${result.seed}, iteration ${result.iteration}: ${values.join(", ")}. Run: ${result.run}`;
  }

  /** Return mean and standard deviation of the known values as text, as in the table of methods. */
  function meanOf(values) {
    if (!values.length || !values.every(known)) return "-";
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    if (values.length < 2) return shown(mean);
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return `${shown(mean)} ± ${shown(Math.sqrt(squares / (values.length - 1)))}`;
  }

  function glyphOf(number) {
    const colour = COLOURS[number % COLOURS.length];
    return draw("path", { d: SHAPES[number % SHAPES.length], fill: colour, stroke: "var(--back)", "stroke-width": 0.5 });
  }

  function explore(section, { results, scores }) {
    const methods = [...new Set(results.map((result) => result.method))];
    const chosen = new Set(results);
    const table = document.getElementById("runs");
    const rowOf = new Map(results.map((result, place) => [result, table.tBodies[0].rows[place]]));
    let points = [];

    const selects = ["x", "y"].map((axis) => {
      const options = scores.map((score) => make("option", { value: score.name }, score.heading));
      const select = make("select", {}, ...options);
      const preferred = axis === "x" ? "forgetting_score" : "accuracy";
      if (scores.some((score) => score.name === preferred)) select.value = preferred;
      select.addEventListener("change", update);
      return select;
    });
    const chart = draw("svg", { class: "chart", role: "group" });
    chart.addEventListener("pointermove", onPointer);
    chart.addEventListener("pointerdown", onPointer);
    const output = make("output", { class: "details" });
    const means = make("tbody");
    const headings = ["method", "runs", ...scores.map((score) => score.heading)];
    const meansTable = make(
      "table",
      { id: "chosen" },
      make("thead", {}, make("tr", {}, ...headings.map((heading) => make("th", { scope: "col" }, heading)))),
      means,
    );

    // Boxes: one for each method, and one for each of its runs.
    const boxes = new Map();
    const groups = methods.map((method, number) => {
      const own = results.filter((result) => result.method === method);
      const all = make("input", { type: "checkbox" });
      all.addEventListener("change", () => choose(own, all.checked));
      const glyph = draw("svg", { class: "glyph", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, glyphOf(number));
      const singles = own.map((result) => {
        const box = make("input", { type: "checkbox", "aria-label": `${method}, seed ${result.seed}` });
        box.addEventListener("change", () => choose([result], box.checked));
        boxes.set(result, box);
        return make("label", {}, box, ` seed ${result.seed}`);
      });
      const group = make("div", { class: "group" }, make("label", {}, all, glyph, method), ...singles);
      return { own, all, group };
    });
    const buttons = [["All runs", true], ["No run", false]].map(([label, checked]) => {
      const button = make("button", { type: "button" }, label);
      button.addEventListener("click", () => choose(results, checked));
      return button;
    });

    function choose(some, checked) {
      for (const result of some) chosen[checked ? "add" : "delete"](result);
      update();
    }

    /** Show the numbers of some points, and mark their rows in the table of runs. */
    function mark(some) {
      for (const point of points) point.element.classList.toggle("marked", some.includes(point));
      for (const [result, row] of rowOf) row.classList.toggle("marked", some.some((point) => point.result === result));
      output.textContent = some.length ? some.map((point) => details(point.result, scores)).join("\n") : hint;
    }

    /** Show the point that is nearest to the pointer, with those that it covers. */
    function onPointer(event) {
      const box = chart.getBoundingClientRect();
      const place = { x: event.clientX - box.left, y: event.clientY - box.top };
      const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
      const nearest = [...points].sort((a, b) => distance(a, place) - distance(b, place))[0];
      if (!nearest || distance(nearest, place) > REACH) return;
      mark(points.filter((point) => point === nearest || distance(point, nearest) < COVERED));
    }

    /** One stop of the Tab key for the whole chart; the arrow keys go from run to run. */
    function focus(place) {
      const next = points[(place + points.length) % points.length];
      for (const point of points) point.element.setAttribute("tabindex", point === next ? 0 : -1);
      next.element.focus();
    }

    function onKey(event, place) {
      const steps = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1 };
      const targets = { ...steps, Home: 0, End: points.length - 1 };
      if (event.key in targets) {
        event.preventDefault();
        focus(targets[event.key]);
      } else if (event.key === "Escape") {
        mark([]);
      }
    }

    const hint = "Point at a run, or go to the chart with Tab and from run to run with the arrow keys.";

    function drawChart() {
      const [x, y] = selects.map((select) => scores.find((score) => score.name === select.value));
      const drawn = results.filter((result) => chosen.has(result) && known(result[x.name]) && known(result[y.name]));
      drawn.sort((a, b) => a[x.name] - b[x.name]);
      const width = chart.clientWidth || 640;
      const height = chart.clientHeight || 352;
      chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
      chart.setAttribute("aria-label", `${y.heading} against ${x.heading}: ${drawn.length} runs`);
      chart.replaceChildren();
      points = [];
      if (drawn.length) {
        const [across, up] = [x, y].map((score) => axisOf(drawn.map((result) => result[score.name])));
        const bottom = height - MARGIN.bottom;
        const right = width - MARGIN.right;
        const left = (value) => MARGIN.left + ((value - across.low) / (across.high - across.low)) * (right - MARGIN.left);
        const top = (value) => bottom - ((value - up.low) / (up.high - up.low)) * (bottom - MARGIN.top);
        const axes = draw("g", { "aria-hidden": "true" });
        for (const value of across.marks) {
          axes.append(draw("line", { x1: left(value), x2: left(value), y1: MARGIN.top, y2: bottom }));
          axes.append(draw("text", { x: left(value), y: bottom + 16, "text-anchor": "middle" }, value.toFixed(across.digits)));
        }
        for (const value of up.marks) {
          axes.append(draw("line", { x1: MARGIN.left, x2: right, y1: top(value), y2: top(value) }));
          axes.append(draw("text", { x: MARGIN.left - 6, y: top(value) + 4, "text-anchor": "end" }, value.toFixed(up.digits)));
        }
        axes.append(draw("text", { x: (MARGIN.left + right) / 2, y: height - 6, "text-anchor": "middle" }, x.heading));
        const middle = (MARGIN.top + bottom) / 2;
        const turned = { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` };
        axes.append(draw("text", turned, y.heading));
        chart.append(axes);
        points = drawn.map((result, place) => {
          const element = draw(
            "g",
            {
              class: "point",
              role: "img",
              tabindex: place ? -1 : 0,
              "aria-label": details(result, scores),
              transform: `translate(${left(result[x.name])} ${top(result[y.name])})`,
            },
            glyphOf(methods.indexOf(result.method)),
            draw("circle", { r: 9, class: "ring" }),
          );
          const point = { result, element, x: left(result[x.name]), y: top(result[y.name]) };
          element.addEventListener("focus", () => mark([point]));
          element.addEventListener("keydown", (event) => onKey(event, place));
          return point;
        });
        chart.append(...points.map((point) => point.element));
      }
      mark([]);
    }

    function update() {
      for (const [result, box] of boxes) box.checked = chosen.has(result);
      for (const [result, row] of rowOf) row.classList.toggle("unchosen", !chosen.has(result));
      means.replaceChildren();
      for (const { own, all } of groups) {
        const left = own.filter((result) => chosen.has(result));
        all.checked = left.length === own.length;
        all.indeterminate = left.length > 0 && left.length < own.length;
        if (!left.length) continue;
        const cells = scores.map((score) => make("td", {}, meanOf(left.map((result) => result[score.name]))));
        const method = make("th", { scope: "row" }, own[0].method);
        means.append(make("tr", {}, method, make("td", {}, String(left.length)), ...cells));
      }
      drawChart();
    }

    section.append(
      make("h2", {}, "Choose and compare runs"),
      make(
        "fieldset",
        {},
        make("legend", {}, "Runs that the chart, the means below it and the table of runs show"),
        ...groups.map((group) => group.group),
        make("div", { class: "controls" }, ...buttons),
      ),
      make(
        "div",
        { class: "controls" },
        make("label", {}, "Horizontal axis ", selects[0]),
        make("label", {}, "Vertical axis ", selects[1]),
      ),
      chart,
      output,
      make("h3", {}, "Mean ± standard deviation of the chosen runs"),
      make("div", { class: "wide", role: "region", "aria-label": "Means of the chosen runs", tabindex: 0 }, meansTable),
    );
    section.hidden = false;
    update();
    let width = chart.clientWidth;
    window.addEventListener("resize", () => {
      if (chart.clientWidth !== width) drawChart();
      width = chart.clientWidth;
    });
  }

  for (const table of document.querySelectorAll(".wide table")) {
    if (!table.tHead || !table.tBodies.length || table.tBodies[0].rows.length < 2) continue;
    makeSortable(table);
    makeFilterable(table, table.parentElement.getAttribute("aria-label") || document.title);
  }
  const section = document.getElementById("explorer");
  const data = document.getElementById("results");
  if (section && data) explore(section, JSON.parse(data.textContent));
})();
