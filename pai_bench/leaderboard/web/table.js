/* Columns: heading, sort key (null sorts last), cell, class of the cell, whether it is shown only when asked for (more),
   or asked for where there are sanity checks (aside). */
const COLUMNS = [
  { name: "line", key: (row) => row.line, ascending: true },
  { name: "density", key: (row) => row.density, cell: (row) => share(row.density) },
  { name: "sparsity", key: (row) => 1 - row.density, cell: (row) => sparsityOf(row.density) },
  { name: "accuracy\u00a0%", title: "mean accuracy after the last epoch", key: (row) => row.mean,
    cell: accuracyCell },
  { name: "95% interval", key: (row) => row.low, title: "of the mean, by t; shown from 0 to 100 only, in files as computed", cell: (row) => possible(row.low, row.high) },
  ...(boards.some((board) => board.rows.some((row) => row.bits)) ? [{ name: "bits per step",
    title: "of text: loss after the last epoch over ln 2, less is better", key: (row) => row.bits && row.bits.mean,
    cell: (row) => (row.bits ? row.bits.mean.toFixed(3) : NONE) }] : []),
  { name: "seeds", title: "finished seeds, linked to their cells", key: (row) => row.n, cell: seedsCell },
  { name: "effective", aside: true, title: "density counting only weights on a path from input to output",
    key: (row) => row.effective, cell: (row) => share(row.effective) },
  { name: "training", aside: true, title: "training FLOPs, scoring included: mean over the seeds", key: (row) => row.training,
    cell: (row) => short(row.training) },
  ...(boards.some((board) => board.rows.some((row) => known(row.left))) ? [{ name: "FLOPs left",
    title: "of one image through the network without dead units, over the dense network's", key: (row) => row.left,
    cell: (row) => share(row.left) }] : []),
  { name: "collapsed", title: "seeds with a layer that passes nothing on", key: (row) => row.collapsed,
    cell: (row) => (row.collapsed ? h("span", { class: "alarm" }, `${row.collapsed} of ${row.n}`) : "no") },
  ...(boards.some((board) => board.rows.some((row) => row.by_position)) ? [{ name: "by position",
    title: "seeds with a layer whose weights all scored the same, so that some are kept by position", key: (row) => row.by_position,
    cell: (row) => (row.by_position ? h("span", { class: "alarm" }, `${row.by_position} of ${row.n}`) : "no") }] : []),
  { name: "vs best baseline", title: "difference in points", key: (row) => row.delta && row.delta.mean,
    cell: (row) => differenceCell(row.delta) },
  ...checksOf(boards).map((name) => ({ name: `− ${name}`,
    title: `sanity check: accuracy minus that of the same method under ${name}, in points, paired by seed`,
    key: (row) => (row.checks[name] ? row.checks[name].mean : null), cell: (row) => checkCell(row.checks[name]) })),
  { name: "best epoch\u00a0%", more: true, title: "mean over the seeds of each run's best accuracy (chosen on the images it is measured on)",
    key: (row) => row.best_epoch, cell: (row) => points(row.best_epoch) },
  { name: "achieved", more: true, title: "density of the final masks", key: (row) => row.achieved,
    cell: (row) => share(row.achieved) },
  { name: "compr.", more: true, title: "compression", key: (row) => 1 / row.density,
    cell: (row) => times(1 / row.density) },
];

/* Sanity checks that some row has been put to: each is a column. */
function checksOf(boards) {
  return [...new Set(boards.flatMap((board) => board.rows.flatMap((row) => Object.keys(row.checks))))];
}

const classOf = (column) => [column.cell && "num", column.more && "extra", column.aside && "aside"].filter(Boolean).join(" ") || null;

function columnOf(name) {
  return COLUMNS.find((column) => column.name === name);
}

function lineCell(row) {
  const kind = row.kind === "baseline" ? null : h("span", { class: "kind" }, row.kind);
  return h("th", { scope: "row" }, swatch(looks.get(row.line)),
    h("a", { href: address("method", row.method) }, row.line), kind);
}

function accuracyCell(row, best) {
  return best.has(row) ? h("span", { class: "best", title: "highest mean at this density, over the seeds that all rows have" }, `★ ${points(row.mean)}`)
    : points(row.mean);
}

function differenceCell(found) {
  if (!found || !known(found.mean)) return NONE;
  /* Weight, not colour, says that the interval leaves out zero. */
  const clear = known(found.low) && (found.low > 0 || found.high < 0);
  const against = found.against && h("span", { class: "kind" }, found.against);
  return [h("span", { class: clear ? "best" : null }, signed(found.mean)),
    h("span", { class: "range" }, known(found.low) && ` [${signed(found.low)}, ${signed(found.high)}]`, against)];
}

/* There are many of these beside one another: half of the interval stands below each. */
function checkCell(found) {
  if (!found || !known(found.low)) return differenceCell(found);
  const [difference] = differenceCell(found);
  const half = `± ${(50 * (found.high - found.low)).toFixed(2)}`;
  return [difference, h("span", { class: "range", title: `[${signed(found.low)}, ${signed(found.high)}]` }, " ", half)];
}

function seedsCell(row) {
  const link = (id, i) => [" ", h("a", { href: address("cell", id),
    "aria-label": `${row.line}, density ${share(row.density)}, seed ${row.seeds[i]}` }, String(row.seeds[i]))];
  const wanted = row.n + (row.missing || []).length;
  return h("span", { class: "seeds" }, `${row.n}/${wanted}`, (row.cells || []).map(link));
}

/* Why seeds are missing stands under its row, across the table, where it cannot scroll out of sight. */
function missingRow(row) {
  const reasons = (row.missing || []).map(({ seed, status, reason }) => h("div", {},
    h("span", { class: status === "failed" ? "alarm" : null }, `seed ${seed} ${status}`), reason && `: ${reason}`));
  return reasons.length > 0 && h("tr", { class: "why" }, h("td", { colspan: COLUMNS.length }, reasons));
}

function compare(column, direction) {
  return (a, b) => {
    const [x, y] = [column.key(a), column.key(b)];
    if (!known(x) || !known(y)) return known(y) - known(x);
    return (typeof x === "string" ? x.localeCompare(y) : x - y) * direction;
  };
}

/* Rows that are drawn at once: with thousands, more come when they are asked for. */
const STEP = 100;

function boardTable(board, asked) {
  const best = bestRows(board);
  const body = h("tbody");
  const count = h("output", { "aria-live": "polite" });
  const more = h("button", { type: "button", class: "more", click: () => { limit += STEP; update(false); } });
  let limit = STEP;
  let found = [];
  /* Checks are what their board is about: they take the room of columns that stand aside. */
  const sheet = h("table", { class: checksOf([board]).length ? "data checked" : "data" });
  const columns = h("button", { type: "button", class: "option",
    click: () => { asked.columns = asked.columns ? "" : "all"; remember(asked); update(false); } }, "all columns");
  /* Ties are read best first; among densities, that ranks the lines within each. */
  const ranked = [...board.rows].sort(compare(columnOf("accuracy\u00a0%"), -1));
  const rowNodes = new Map();
  const nodesOf = (row) => {
    if (!rowNodes.has(row)) rowNodes.set(row, rowView(row, best));
    return rowNodes.get(row);
  };
  const update = (anew = true) => {
    if (anew) limit = STEP;
    const { column, direction } = sortOf(asked);
    sheet.classList.toggle("whole", asked.columns === "all");
    columns.setAttribute("aria-pressed", String(asked.columns === "all"));
    found = ranked.filter((row) => matches(row, asked)).sort(compare(column, direction));
    const shown = found.slice(0, limit);
    const grouped = COLUMNS.indexOf(column) < 4;
    shown.forEach((row, i) => nodesOf(row)[0].classList.toggle("group",
      grouped && i > 0 && column.key(row) !== column.key(shown[i - 1])));
    body.replaceChildren(...shown.flatMap(nodesOf));
    count.textContent = `${whole(found.length)} of ${whole(ranked.length)} rows`;
    more.hidden = found.length <= limit;
    const rest = Math.max(0, found.length - limit);
    more.textContent = `show ${Math.min(STEP, rest)} more of ${whole(rest)} rows`;
    markSorted();
  };
  const [head, markSorted] = headView(asked, update);
  sheet.append(head, body);
  const view = h("div", {}, h("div", { class: "options" }, count, columns, tableFiles(board, () => found)),
    scrolling(`${board.suite}: results`, sheet), more,
    h("p", { class: "note" }, "★ is the highest mean at a density; intervals often overlap. Differences are in points ",
      "of accuracy, with a 95% interval (±: half of it), in bold where it leaves out zero. Headings sort; seed numbers lead to the ",
      "single runs, names of lines to their methods. Intervals are shown within 0 and 100; files have them as computed."));
  return { view, update };
}

/* The sorting in an address: the name of a column, with - before it where values fall. */
function sortOf({ sort }) {
  const wanted = (sort || "-density").replace(/^-/, "");
  const column = COLUMNS.find((c) => slug(c) === wanted);
  return column ? { column, direction: sort && !sort.startsWith("-") ? 1 : -1 }
    : { column: columnOf("density"), direction: -1 };
}

const slug = (column) => column.name.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "");

function headView(asked, update) {
  const sortBy = (column) => () => {
    const now = sortOf(asked);
    const rises = now.column === column ? now.direction < 0 : column.ascending;
    asked.sort = (rises ? "" : "-") + slug(column);
    remember(asked);
    update();
  };
  const heads = COLUMNS.map((column) => h("th", { scope: "col", title: column.title, class: classOf(column) },
    h("button", { type: "button", click: sortBy(column) }, column.name)));
  const mark = () => {
    const now = sortOf(asked);
    heads.forEach((cell, i) => {
      if (COLUMNS[i] !== now.column) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", now.direction > 0 ? "ascending" : "descending");
    });
  };
  return [h("thead", {}, h("tr", {}, heads)), mark];
}

function rowView(row, best) {
  const cellsOf = COLUMNS.slice(1).map((column) => h("td", { class: classOf(column) }, column.cell(row, best)));
  return [h("tr", {}, lineCell(row), cellsOf), missingRow(row)].filter(Boolean);
}

/* The dense reference stays in sight under any density, as what the rest is measured by. */
function matches(row, asked) {
  if (asked.density && row.kind !== "reference" && !near(row.density, Number(asked.density))) return false;
  return ofLine(row, asked);
}

function ofLine(row, { text, kind }) {
  if (kind && row.kind !== kind) return false;
  const words = [row.line, row.method, row.kind, ...(row.missing || []).map((m) => `${m.status} ${m.reason}`)];
  return words.join(" ").toLowerCase().includes((text || "").trim().toLowerCase());
}
