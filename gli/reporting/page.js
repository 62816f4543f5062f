"use strict";
// What the pages of a report add where scripts run: tables to sort and filter, and runs to choose and to point at.
// The script asks for nothing from the network. Without it, the page shows the same tables and drawn figures.
(() => {
  // Pixels: how far a pointer reaches, and how near to each other two points count as one.
  const REACH = 16;
  const COVERED = 3;

  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
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

  // -- runs ----------------------------------------------------------------------------------------------------------

  function known(value) {
    return typeof value === "number";
  }

  function shown(value) {
    return known(value) ? value.toFixed(3) : "-";
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

  /** Add choices of runs to the figure of the runs, the means of the chosen ones, and the numbers of those pointed at. */
  function explore(section, { results, scores }) {
    const hint = "Point at a run, or go to the figure with Tab and from run to run with the arrow keys.";
    const chosen = new Set(results);
    const table = document.getElementById("runs");
    const rowOf = new Map(results.map((result, place) => [result, table.tBodies[0].rows[place]]));
    const points = results
      .map((result, place) => ({ result, element: document.getElementById(`run-${place}`) }))
      .filter((point) => point.element);
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
    const groups = [...new Set(results.map((result) => result.method))].map((method) => {
      const runs = results.filter((result) => result.method === method);
      const all = make("input", { type: "checkbox" });
      all.addEventListener("change", () => choose(runs, all.checked));
      const singles = runs.map((result) => {
        const box = make("input", { type: "checkbox", "aria-label": `${method}, seed ${result.seed}` });
        box.addEventListener("change", () => choose([result], box.checked));
        boxes.set(result, box);
        return make("label", {}, box, ` seed ${result.seed}`);
      });
      return { runs, all, group: make("div", { class: "group" }, make("label", {}, all, ` ${method}`), ...singles) };
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

    function visible() {
      return points.filter((point) => chosen.has(point.result));
    }

    /** Show the point that is nearest to the pointer, with those that it covers. */
    function onPointer(event) {
      const placed = visible().map((point) => {
        const box = point.element.getBoundingClientRect();
        return { point, x: box.left + box.width / 2, y: box.top + box.height / 2 };
      });
      const distance = (a, x, y) => Math.hypot(a.x - x, a.y - y);
      placed.sort((a, b) => distance(a, event.clientX, event.clientY) - distance(b, event.clientX, event.clientY));
      const [nearest] = placed;
      if (!nearest || distance(nearest, event.clientX, event.clientY) > REACH) return;
      mark(placed.filter((other) => distance(other, nearest.x, nearest.y) < COVERED).map((other) => other.point));
    }

    /** One stop of the Tab key for the whole figure; the arrow keys go from run to run. */
    function onKey(event, point) {
      const left = visible();
      const place = left.indexOf(point);
      const steps = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1 };
      const targets = { ...steps, Home: 0, End: left.length - 1 };
      if (event.key === "Escape") mark([]);
      if (!(event.key in targets)) return;
      event.preventDefault();
      const next = left[(targets[event.key] + left.length) % left.length];
      for (const other of points) other.element.setAttribute("tabindex", other === next ? 0 : -1);
      next.element.focus();
    }

    function update() {
      for (const [result, box] of boxes) box.checked = chosen.has(result);
      for (const [result, row] of rowOf) row.classList.toggle("unchosen", !chosen.has(result));
      const first = visible()[0];
      for (const point of points) {
        point.element.classList.toggle("unchosen", !chosen.has(point.result));
        point.element.setAttribute("tabindex", point === first ? 0 : -1);
      }
      means.replaceChildren();
      for (const { runs, all } of groups) {
        const left = runs.filter((result) => chosen.has(result));
        all.checked = left.length === runs.length;
        all.indeterminate = left.length > 0 && left.length < runs.length;
        if (!left.length) continue;
        const cells = scores.map((score) => make("td", {}, meanOf(left.map((result) => result[score.name]))));
        const method = make("th", { scope: "row" }, runs[0].method);
        means.append(make("tr", {}, method, make("td", {}, String(left.length)), ...cells));
      }
      mark([]);
    }

    for (const point of points) {
      point.element.classList.add("point");
      point.element.setAttribute("role", "img");
      point.element.setAttribute("aria-label", details(point.result, scores));
      point.element.addEventListener("focus", () => mark([point]));
      point.element.addEventListener("keydown", (event) => onKey(event, point));
    }
    const figure = section.querySelector("figure");
    figure.addEventListener("pointermove", onPointer);
    figure.addEventListener("pointerdown", onPointer);
    figure.before(
      make(
        "fieldset",
        {},
        make("legend", {}, "Runs that the figure, the means below it and the table of runs show"),
        ...groups.map((group) => group.group),
        make("div", { class: "controls" }, ...buttons),
      ),
    );
    section.append(
      output,
      make("h3", {}, "Mean ± standard deviation of the chosen runs"),
      make("div", { class: "wide", role: "region", "aria-label": "Means of the chosen runs", tabindex: 0 }, meansTable),
    );
    update();
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
