const number = (text) => { const found = text.replace(/,/g, "").match(/-?\d+(\.\d+)?/); return found ? Number(found[0]) : null; };
for (const table of document.querySelectorAll("table.data")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  if (rows.length < 2) continue;
  heads.forEach((head, column) => {
    const press = document.createElement("button");
    press.type = "button"; press.className = "sort"; press.textContent = head.textContent;
    head.replaceChildren(press);
    press.onclick = () => {
      const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
      const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
      const numeric = [...texts.values()].every((text) => /^-?[\d.]/.test(text) || !text);
      const order = (a, b) => (numeric ? (number(texts.get(a)) ?? Infinity) - (number(texts.get(b)) ?? Infinity) : texts.get(a).localeCompare(texts.get(b)));
      body.append(...rows.sort((a, b) => down * order(a, b)));
    };
  });
  if (rows.length < 6) continue;
  const label = document.createElement("label"), field = document.createElement("input"), said = document.createElement("output");
  field.type = "search";
  label.className = "filter";
  label.append(`Filter ${table.closest(".scroll").getAttribute("aria-label")} `, field, " ", said);
  table.closest(".scroll").before(label);
  field.oninput = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => { row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word)); });
    said.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
}
