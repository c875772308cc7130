/* ---- a board: facts, chart, table ---- */

const densitiesOf = (board) =>
  [...new Set(board.rows.filter((row) => row.kind !== "reference").map((row) => row.density))].sort((a, b) => b - a);

const bestRows = (board) => new Set(board.rows.filter((row) => row.best && row.kind !== "reference"));

function facts(pairs, kind) {
  return h("dl", { class: kind }, pairs.filter(([, value]) => known(value) && value !== "").map(([name, value]) =>
    kind === "across" ? h("div", {}, h("dt", {}, name), h("dd", {}, value)) : [h("dt", {}, name), h("dd", {}, value)]));
}

const command = (text) => text && h("code", { class: "all" }, text);

/* A board among several is folded until it is asked for: what is not open is not drawn. */
function boardView(board, asked, several) {
  const chart = boardChart(board);
  const table = boardTable(board, asked);
  const body = h("div", {});
  const update = () => { chart.show(new Set(board.rows.filter((row) => ofLine(row, asked)).map((row) => row.line)));
    table.update(); };
  const draw = () => { if (!body.firstChild) { body.append(...nodes([boardFacts(board), chart.view, table.view])); update(); } };
  const name = h("h2", {}, board.suite);
  if (!several) {
    draw();
    return { view: h("section", { class: "board", "aria-label": board.suite }, name, body), update, open: draw };
  }
  const told = `${board.network} · ${board.data} · ${whole(cellsOf(board))} results`;
  const fold = h("details", { class: "board", toggle: () => fold.open && draw() },
    h("summary", {}, name, h("span", { class: "soft" }, told)), body);
  return { view: fold, update: () => body.firstChild && update(), open: () => { fold.open = true; draw(); } };
}

const cellsOf = (board) => board.rows.reduce((sum, row) => sum + row.n, 0);

function boardFacts(board) {
  return [board.about && h("p", {}, board.about),
    facts([["network", board.network], ["data", board.data], ["epochs", known(board.epochs) ? whole(board.epochs) : ""],
      ["prunable weights", known(board.prunable) ? whole(board.prunable) : ""],
      ["seeds", (board.seeds || []).join(", ")], ["results", whole(cellsOf(board))]], "across")];
}

const ZOOM = Symbol("zoom");
const COST = Symbol("cost");
const PRINTED = Symbol("printed");

function boardChart(board) {
  const lines = [...looks.keys()].filter((line) => board.rows.some((row) => row.line === line));
  const printed = printedOf(board);
  const off = new Set();
  let asked = new Set(lines);
  const { host, redraw } = plot(() => chartSpec(board, lines.filter((line) => asked.has(line) && !off.has(line)),
    off.has(ZOOM), off.has(COST) ? byCost(board) : byDensity(board), off.has(PRINTED) ? [] : printed));
  /* What is off (or, for the zoom and the axis, on) is in one set; a press moves its entry in or out. */
  const toggle = (entry, pressedWhen) => (event) => {
    if (!off.delete(entry)) off.add(entry);
    event.currentTarget.setAttribute("aria-pressed", String(off.has(entry) === pressedWhen));
    redraw();
  };
  const option = (entry, text, pressedWhen = true) => h("button", { type: "button", class: "zoom",
    "aria-pressed": String(!pressedWhen), click: toggle(entry, pressedWhen) }, text);
  const names = new Map(lines.map((line) => [line, h("button", { type: "button", "aria-pressed": "true",
    click: toggle(line, false) }, swatch(looks.get(line)), line)]));
  const legend = h("div", { class: "legend", role: "group", "aria-label": "lines shown" }, [...names.values()],
    printed.length > 0 && option(PRINTED, "printed values", false),
    board.rows.some((row) => row.training > 0) && option(COST, "against training FLOPs"),
    option(ZOOM, "zoom to the best"));
  const show = (wanted) => {
    asked = wanted;
    names.forEach((button, line) => { button.hidden = !asked.has(line); });
    redraw();
  };
  const view = h("figure", {}, legend, host, h("figcaption", {},
    "Mean over the seeds with a 95% t interval (bands are cut at the frame). Open markers: a seed is missing. ",
    printed.length > 0 && ["Rings: what a paper prints for the method, against density (broken: read off a figure), ",
      "with its spread over runs where it says so. "],
    "Click a name to hide or show its line; the axis fits the lines that are left."));
  return { view, show };
}

/* Values that a paper or its authors print for a line of this very suite. */
function printedOf(board) {
  return papers.flatMap((paper) => paper.claims.filter((claim) => claim.point && claim.suite === board.suite)
    .map((claim) => ({ ...claim.point, paper: paper.paper, rough: paper.blocks[claim.block].source.reading !== "printed" })));
}

/* What stands on x: where a row is, its range, how it is drawn and read. */
const densityOf = (row) => row.density;
const near = (a, b) => Math.abs(a - b) <= 1e-3 * b;

function byDensity(board) {
  const densities = densitiesOf(board);
  const [first, last] = [densities[0] || 1, densities[densities.length - 1] || 0.1];
  const span = Math.log(first / last) || 1;
  return {
    of: densityOf, ends: [first, last], stops: new Set(densities),
    map: (x) => (densities.length > 1 ? Math.log(first / x) / span : 0.5),
    ticks: densities.map((density) => ({ x: density, label: share(density), below: sparsityOf(density) })),
    name: "density", label: "density (below: sparsity), log scale, sparser →",
    title: (x) => `density ${share(x)}, sparsity ${sparsityOf(x)}`,
  };
}

function byCost(board) {
  const costs = board.rows.map((row) => row.training).filter((x) => x > 0);
  const [least, most] = [Math.min(...costs), Math.max(...costs)];
  const span = Math.log(most / least);
  const decades = [...Array(40).keys()].flatMap((power) => [1, 2, 5].map((factor) => factor * 10 ** power));
  const sparse = new Set(board.rows.filter((row) => row.kind !== "reference").map((row) => row.training));
  return {
    of: (row) => row.training, ends: [least, most], stops: sparse,
    map: (x) => (span ? Math.log(x / least) / span : 0.5),
    ticks: decades.filter((x) => x >= least && x <= most).map((x) => ({ x, label: short(x).replace(/\.0+ /, " ") })),
    name: "training FLOPs", label: "training FLOPs, scoring included, log scale, dearer →",
    title: (x) => `${short(x)} training FLOPs`,
  };
}

function chartSpec(board, lines, zoomed, axis, printed) {
  const placed = board.rows.filter((row) => lines.includes(row.line) && (row.kind === "reference" || axis.of(row) > 0));
  const rowsOf = (line) => placed.filter((row) => row.line === line).sort((a, b) => b.density - a.density);
  const point = (row) => ({ x: axis.of(row), y: row.mean, low: row.low, high: row.high,
    hollow: (row.missing || []).length > 0 });
  /* The reference has a place of its own; here it stands for a level, so it runs across the whole plot. */
  const level = (row) => axis.ends.map((x) => ({ ...point(row), x }));
  const series = lines.map((line) => ({ look: looks.get(line), points: rowsOf(line).flatMap((row) =>
    (row.kind === "reference" ? level(row) : [point(row)])),
    printed: axis.of === densityOf ? printed.filter((p) => p.line === line && p.density < 1)
      .map((p) => ({ x: p.density, y: p.y, spread: p.spread, rough: p.rough })) : [] }));
  /* One collapsed line flattens all others; zooming keeps each density's best in the frame. */
  const means = densitiesOf(board).map((density) => Math.max(...placed.filter((row) => row.density === density &&
    row.kind !== "reference" && known(row.mean)).map((row) => row.mean)));
  const [least, most] = [Math.min(...means.filter(Number.isFinite)), Math.max(...means)];
  const floor = zoomed && Number.isFinite(most) ? least - 0.3 * (most - least) - 0.005 : 0;
  const reading = (x) => placed
    .filter((row) => (row.kind === "reference" || axis.of(row) === x) && known(row.mean))
    .sort((a, b) => b.mean - a.mean)
    .map((row) => [looks.get(row.line), row.line, points(row.mean), interval(row.low, row.high), `n=${row.n}`,
      axis.of === densityOf ? printedAt(row, printed) : row.kind === "reference" ? `${short(row.training)}` : `at ${share(row.density)}`]);
  return {
    series, limits: [floor, 1], scale: 100, height: 460, labelWidth: 44, stops: axis.stops, map: axis.map,
    ticks: axis.ticks, yLabel: `${board.evaluated} accuracy after the last epoch, %`, xLabel: axis.label,
    tip: (x) => ({ title: axis.title(x), rows: reading(x) }),
    label: `${board.suite}: ${board.evaluated} accuracy against ${axis.name}. Arrow keys read the values; the table has them all.`,
  };
}


function printedAt(row, printed) {
  const found = printed.filter((p) => p.line === row.line && near(p.density, row.density));
  return found.map((p) => `${p.paper} prints ${p.text}`).join("; ");
}
