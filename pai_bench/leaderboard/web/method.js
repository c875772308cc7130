/* ---- a method: what it declares, where it ran, what its masks look like and cost ---- */

function methodsPage() {
  const ran = new Map();
  boards.forEach((board) => board.rows.forEach((row) => ran.set(row.method, (ran.get(row.method) || 0) + row.n)));
  const heads = ["method", "kind", "acts", "results here", "about"].map((name) => h("th", { scope: "col" }, name));
  const rows = Object.entries(methods).map(([name, method]) => h("tr", {},
    h("th", { scope: "row" }, h("a", { href: address("method", name) }, name)), h("td", {}, method.kind),
    h("td", {}, WHEN[method.when] || method.when), h("td", { class: "num" }, whole(ran.get(name) || 0)),
    h("td", { class: "wide" }, method.about)));
  return { title: "Methods", content: [scrolling("methods",
    h("table", { class: "data" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)))] };
}

const WHEN = { init: "before training", during: "while training", path: "along a path, then retrained" };

function methodPage(name) {
  const method = methods[name];
  const shown = boards.filter((board) => board.rows.some((row) => row.method === name));
  if (!method && !shown.length) return { title: "No such method", content: [
    h("p", {}, "This page holds no method ", h("code", {}, name), ".")] };
  return { title: name, content: [method && declared(method), shown.map((board) => methodOnBoard(name, board, shown.length > 1)),
    claimsOf(name)] };
}

function declared(method) {
  const needs = [method.needs_data && "data", method.needs_labels && "labels"].filter(Boolean).join(", ") || "nothing";
  const rows = Object.entries(method.hyper).map(([key, { kind, value }]) => h("tr", {},
    h("th", { scope: "row" }, key), h("td", {}, h("code", {}, kind.replace(/^Literal\[(.*)\]$/, "$1"))), h("td", { class: "num" }, JSON.stringify(value))));
  return [
    h("p", {}, method.about),
    facts([["kind", method.kind], ["paper", method.paper], ["acts", WHEN[method.when] || method.when],
      ["needs to score", needs], ["version", String(method.version)], ["source", method.origin]], "across"),
    h("h2", {}, "Hyper-parameters"),
    rows.length ? h("div", { class: "scroll" }, h("table", { class: "data" }, h("thead", {}, h("tr", {},
      ["name", "kind or values", "default"].map((text, i) => h("th", { scope: "col", class: i > 1 ? "num" : null }, text)))),
      h("tbody", {}, rows))) : h("p", { class: "soft" }, "It has none."),
  ];
}

/* With several suites, each is folded: averaging over cells reads all of them. */
function methodOnBoard(name, board, several) {
  const body = h("div", {});
  const draw = () => { if (!body.firstChild) body.append(...onBoard(name, board)); };
  const heading = h("h2", {}, "In the suite ", board.suite);
  if (!several) {
    draw();
    return h("section", { class: "board" }, heading, body);
  }
  const view = h("details", { class: "board", toggle: () => view.open && draw() }, h("summary", {}, heading), body);
  return view;
}

function onBoard(name, board) {
  const lines = [...new Set(board.rows.filter((row) => row.method === name).map((row) => row.line))];
  return [h("p", {}, h("a", { href: address("board", "", { suite: board.suite, text: name }) }, "on the leaderboard")),
    ...lines.flatMap((line) => lineView(board, board.rows.filter((row) => row.line === line)))];
}

function lineView(board, rows) {
  const measured = rows.map((row) => ({ row, cells: row.cells.map(cellOf).filter((cell) => cell && cell.status === "done") }));
  const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
  const average = ({ cells }, pick) => mean(cells.map(pick).filter(known));
  const seconds = (part) => (found) => {
    const value = average(found, (cell) => (cell.seconds || {})[part]);
    return known(value) ? value.toPrecision(3) : NONE;
  };
  const columns = [["density", ({ row }) => share(row.density)], ["accuracy %", ({ row }) => points(row.mean)],
    ["effective", ({ row }) => share(row.effective)],
    ["scoring FLOPs", (found) => short(average(found, (cell) => (cell.flops || {}).scoring))],
    ["training FLOPs", ({ row }) => short(row.training)],
    ["inference FLOPs", (found) => short(average(found, (cell) => (cell.flops || {}).inference))],
    ["seconds to score", seconds("score")], ["to train", seconds("train")], ["in all", seconds("total")],
    ["memory MB", (found) => whole(Math.round(average(found, (cell) => cell.memory_mb)) || null)],
    ["cells", ({ row }) => h("span", { class: "seeds" }, row.cells.map((id, i) => [" ", h("a", { href: address("cell", id),
      "aria-label": `density ${share(row.density)}, seed ${row.seeds[i]}` }, String(row.seeds[i]))]))]];
  return nodes([h("h3", {}, swatch(looks.get(rows[0].line)), rows[0].line),
    grid("results and cost", columns.map(([text]) => text), measured.map((found) => columns.map(([, cell]) => cell(found)))),
    h("p", { class: "note" }, "Means over the seeds. Training FLOPs have scoring in them; seconds are of the machines that ran it."),
    checksView(rows), layersOf(measured)]);
}

function grid(label, heads, rows) {
  return scrolling(label, h("table", { class: "data" },
    h("thead", {}, h("tr", {}, heads.map((text, i) => h("th", { scope: "col", class: i ? "num" : null }, text)))),
    h("tbody", {}, rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first),
      rest.map((cell) => h("td", { class: "num" }, cell)))))));
}

function checksView(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.checks)))];
  if (!names.length) return null;
  const body = rows.filter((row) => Object.keys(row.checks).length).map((row) =>
    [share(row.density), ...names.map((name) => differenceCell(row.checks[name]))]);
  return [h("h3", {}, "Sanity checks"), grid("sanity checks", ["density", ...names], body),
    h("p", { class: "note" }, "Accuracy of the method minus that under the check, in points, paired by seed."),
    facts(names.map((name) => [name, page.checks[name]]), "facts stack")];
}

/* Part of each layer's weights that is kept at the end: a shade and its number. */
function layersOf(measured) {
  const layers = ((measured.find(({ cells }) => cells.length) || { cells: [] }).cells[0] || {}).layers || [];
  const sparse = measured.filter(({ row, cells }) => row.density < 1 && cells.length).slice(0, 24);
  if (!layers.length || !sparse.length) return null;
  const kept = (cells, i) => {
    const parts = cells.map((cell) => cell.layers && cell.layers[i]).filter(Boolean).map((l) => l.kept_end / l.total);
    return parts.reduce((a, b) => a + b, 0) / parts.length;
  };
  const shade = (value) => {
    const cell = h("span", { class: "shade" }, value >= 0 ? share(Number(value.toPrecision(3))) : NONE);
    cell.style.setProperty("--part", `${Math.round(60 * Math.sqrt(value || 0))}%`);
    return cell;
  };
  const body = layers.map((layer, i) => [layer.name, whole(layer.total), ...sparse.map(({ cells }) => shade(kept(cells, i)))]);
  return [h("h3", {}, "Density of each layer"),
    grid("density of each layer", ["layer", "weights", ...sparse.map(({ row }) => `at ${share(row.density)}`)], body),
    h("p", { class: "note" }, "Weights kept at the end of training, mean over the seeds; the stronger the shade, the more are kept.")];
}

function claimsOf(name) {
  const found = papers.map((paper) => [paper, paper.claims.filter((claim) => claim.method && claim.method.name === name)])
    .filter(([, claims]) => claims.length);
  return found.length > 0 && [h("h2", {}, "Claims about it"), h("ul", {}, found.map(([paper, claims]) => h("li", {},
    h("a", { href: address("claims", paper.paper, { text: printedName(claims[0]) }) }, paper.title || paper.paper),
    `: ${claims.length}, of which ${claims.filter((claim) => claim.measured).length} are tested here`)))];
}
