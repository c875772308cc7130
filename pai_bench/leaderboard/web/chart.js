/* ---- the chart of a board: which lines, on which axes, with which bands; all of it stands in the address ---- */

/* Lines on first sight; more would hide each other. */
const AT_FIRST = 8;
const BETWEEN = "|";
const listed = (text) => (text || "").split(BETWEEN).filter(Boolean);

/* By mean rank where there is one; methods of papers and the dense reference before others. */
function linesOf(board) {
  const kinds = new Map(board.rows.map((row) => [row.line, row.kind]));
  const place = new Map(((board.ranking || {}).lines || []).map(({ label }, i) => [label, i]));
  const before = { paper: 0, reference: 1, baseline: 2 };
  const at = (line) => (place.has(line) ? place.get(line) : Infinity);
  const compared = (a, b) => before[kinds.get(a)] - before[kinds.get(b)] || (at(a) === at(b) ? 0 : at(a) - at(b));
  return [...kinds.keys()].sort(compared);
}

/* Lines that the address names, or the first few. */
function chosenLines(lines, { lines: named }) {
  const wanted = new Set(listed(named));
  const found = named === "all" ? lines : lines.filter((line) => wanted.has(line));
  return found.length ? found : lines.slice(0, AT_FIRST);
}

function boardChart(board, asked, changed) {
  const all = linesOf(board);
  const printed = printedOf(board);
  let left = all;
  const { host, redraw } = plot(() => chartSpec(board, chosenLines(left, asked), asked, printed,
    (line) => turn("bands", listed(asked.bands), line)));
  const turn = (key, list, line) => {
    const kept = list.filter((each) => each !== line);
    asked[key] = (kept.length < list.length ? kept : [...list, line]).join(BETWEEN);
    changed();
  };
  const names = new Map(all.map((line) => [line, h("button", { type: "button",
    click: () => turn("lines", chosenLines(left, asked), line) }, swatch(looks.get(line)), line)]));
  names.forEach((button, line) => light(button, host, line));
  const options = chartOptions(board, asked, changed, printed, () => left);
  const refresh = () => {
    const shown = new Set(chosenLines(left, asked));
    names.forEach((button, line) => {
      button.hidden = !left.includes(line);
      button.setAttribute("aria-pressed", String(shown.has(line)));
    });
    options.forEach(({ refresh: again }) => again());
    redraw();
  };
  const show = (wanted) => { left = all.filter((line) => wanted.has(line)); refresh(); };
  const file = () => [`${board.suite}.svg`, "image/svg+xml", svgText(host.querySelector("svg"))];
  const view = h("figure", {}, h("div", { class: "options", role: "group", "aria-label": "chart" },
    options.map(({ button }) => button), saver("SVG", file)),
    h("div", { class: "legend", role: "group", "aria-label": "lines shown" }, [...names.values()]), host,
    h("figcaption", {}, "Mean over the seeds; the 95% t interval of the line under the pointer, and of lines that were clicked, ",
      "is a band (cut at the frame). Open markers: a seed is missing. ",
      printed.length > 0 && ["Rings: what a paper prints for the method, against density (broken: read off a figure), ",
        "with its spread over runs where it says so. "],
      "Names hide and show their lines; the axis fits those that are left."));
  return { view, show, refresh };
}

const hasCosts = (board) => board.rows.some((row) => row.training > 0);

/* Choices beside the lines: each is on where the address says so. */
function chartOptions(board, asked, changed, printed, left) {
  const option = (key, value, text, offered = () => true) => {
    const press = () => { asked[key] = asked[key] === value ? "" : value; changed(); };
    const button = h("button", { type: "button", class: "option", click: press });
    const refresh = () => {
      button.hidden = !offered();
      button.textContent = typeof text === "string" ? text : text();
      button.setAttribute("aria-pressed", String(asked[key] === value));
    };
    return { button, refresh };
  };
  return [
    option("lines", "all", () => `all ${left().length} lines`, () => left().length > AT_FIRST),
    option("bands", "all", "all bands"),
    option("y", "accuracy", "accuracy"),
    option("range", "all", "fit all lines", () => asked.y === "accuracy"),
    hasCosts(board) && option("x", "flops", "against training FLOPs"),
    printed.length > 0 && option("printed", "off", "no printed values"),
  ].filter(Boolean);
}

/* Values that a paper or its authors print for a line of this very suite. */
function printedOf(board) {
  return papers.flatMap((paper) => paper.claims.filter((claim) => claim.point && claim.suite === board.suite)
    .map((claim) => ({ ...claim.point, paper: paper.paper, rough: paper.blocks[claim.block].source.reading !== "printed" })));
}

function chartSpec(board, lines, asked, all, pick) {
  const costs = asked.x === "flops" && hasCosts(board);
  const axis = costs ? byCost(board) : byDensity(board);
  const measure = asked.y === "accuracy" ? ACCURACY : ERROR;
  const printed = asked.printed === "off" ? [] : all;
  const bands = new Set(asked.bands === "all" ? lines : listed(asked.bands));
  const placed = board.rows.filter((row) => lines.includes(row.line) && (row.kind === "reference" || axis.of(row) > 0));
  const rowsOf = (line) => placed.filter((row) => row.line === line).sort((a, b) => b.density - a.density);
  const point = (row) => ({ x: axis.of(row), ...measure.of(row), hollow: (row.missing || []).length > 0 });
  /* The reference has a place of its own; here it stands for a level, so it runs across the whole plot. */
  const level = (row) => axis.ends.map((x) => ({ ...point(row), x }));
  const rings = (line) => (costs ? [] : printed.filter((p) => p.line === line && p.density < 1)
    .map((p) => ({ x: p.density, y: measure.of({ mean: p.y }).y, spread: p.spread, rough: p.rough })));
  const series = lines.map((line) => ({ label: line, look: looks.get(line), band: bands.has(line), printed: rings(line),
    points: rowsOf(line).flatMap((row) => (row.kind === "reference" ? level(row) : [point(row)])) }));
  const best = densitiesOf(board).map((density) => Math.max(...placed.filter((row) => row.density === density &&
    row.kind !== "reference" && known(row.mean)).map((row) => row.mean)));
  return {
    series, limits: measure.limits(best, asked.range === "all"), log: measure.log, scale: 100, height: 460,
    stops: axis.stops, map: axis.map, ticks: axis.ticks, yLabel: measure.label(board.evaluated), xLabel: axis.label, pick, inline: costs,
    tip: (x) => ({ title: axis.title(x), rows: readings(x, placed, axis, measure, printed) }),
    label: `${board.suite}: ${board.evaluated} ${measure.name} against ${axis.name}. Arrow keys read the values; the table has them all.`,
  };
}

function readings(x, placed, axis, measure, printed) {
  const last = (row) => (axis.of === densityOf ? printedAt(row, printed)
    : row.kind === "reference" ? short(row.training) : `at ${share(row.density)}`);
  return placed.filter((row) => (row.kind === "reference" || axis.of(row) === x) && known(row.mean))
    .sort((a, b) => b.mean - a.mean).map((row) => {
      const { y, low, high } = measure.of(row);
      return [looks.get(row.line), row.line, points(y), possible(low, high), `n=${row.n}`, last(row)];
    });
}

function printedAt(row, printed) {
  const found = printed.filter((p) => p.line === row.line && near(p.density, row.density));
  return found.map((p) => `${p.paper} prints ${p.text}`).join("; ");
}
