// Tables of scans: a heading sorts them by its column, from best to worst, and again the other way.

/** Sorts by the ranks of cells, by names where a column has none; cells without one come last. */
function sorted(rows, column, forwards) {
  const cell = (row) => row.cells[column];
  const ranked = rows.some((row) => "rank" in cell(row).dataset);
  const name = (row) => cell(row).textContent.trim();
  const compare = (one, other) => {
    if (!ranked) return name(one).localeCompare(name(other), undefined, { numeric: true });
    const [first, second] = [one, other].map((row) => Number(cell(row).dataset.rank));
    return first - second;
  };
  const known = rows.filter((row) => !ranked || "rank" in cell(row).dataset);
  const unknown = rows.filter((row) => !known.includes(row));
  known.sort(compare);
  return [...(forwards ? known : known.reverse()), ...unknown];
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => {
      const best = heading.dataset.best ?? "ascending";
      const forwards = heading.getAttribute("aria-sort") !== best;
      const worst = best === "ascending" ? "descending" : "ascending";
      headings.forEach((one) => one.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", forwards ? best : worst);
      const body = table.tBodies[0];
      body.append(...sorted([...body.rows], column, forwards));
    });
    heading.replaceChildren(button);
  });
}
