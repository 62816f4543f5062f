"use strict";
// What the page of near-copies adds where scripts run: a choice for each pair, and the command that records the choices.
// Without it, the page shows the same pairs and decisions, and says how to write the command.
(() => {
  const CHOICES = ["open", "accept", "keep"];
  const box = document.getElementById("command");
  const cells = [...document.querySelectorAll("td[data-file]")];
  if (!box || !cells.length) return;
  /** File of each copy -> what was chosen. A copy of several pictures is decided once. */
  const chosen = new Map(cells.map((cell) => [cell.dataset.file, "open"]));

  function quoted(word) {
    return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
  }

  function update() {
    for (const cell of cells) cell.querySelector(`[value="${chosen.get(cell.dataset.file)}"]`).checked = true;
    const parts = ["accept", "keep"].map((choice) => {
      const files = [...chosen].filter(([, value]) => value === choice).map(([file]) => quoted(file));
      return files.length ? ` --${choice} ${files.join(" ")}` : "";
    });
    const open = [...chosen.values()].filter((value) => value === "open").length;
    box.querySelector("pre").textContent = parts.join("") ? box.dataset.command + parts.join("") : "";
    box.querySelector("[role=status]").textContent = `${chosen.size - open} of ${chosen.size} copies decided`;
  }

  cells.forEach((cell, number) => {
    const group = document.createElement("fieldset");
    group.setAttribute("aria-label", `Decision on ${cell.dataset.file}`);
    for (const choice of CHOICES) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name: `decision-${number}`, value: choice });
      input.addEventListener("change", () => {
        chosen.set(cell.dataset.file, choice);
        update();
      });
      label.append(input, ` ${choice}`);
      group.append(label);
    }
    cell.replaceChildren(group);
  });
  box.hidden = false;
  update();
})();
