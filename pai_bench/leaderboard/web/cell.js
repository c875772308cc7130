/* ---- a cell: built when it is opened, never before ---- */

const nameOf = (cell) => `${cell.line}, density ${share(cell.density)}, seed ${cell.seed}`;
const both = (density) => (known(density) ? `${share(density)} (sparsity ${sparsityOf(density)})` : null);

function cellPage(id) {
  const cell = cellOf(id);
  if (!cell) return { title: "No such cell", content: [
    h("p", {}, "This page holds no cell ", h("code", {}, id), ".")] };
  return { title: nameOf(cell) + (cell.ablation ? `, ${cell.ablation}` : ""), content: cellView(cell) };
}

const evaluated = (cell) => (cell.recipe || {}).evaluate || "test";

function cellView(cell) {
  const collapsed = cell.collapsed || [];
  const accuracy = cell.accuracy || {};
  const images = evaluated(cell);
  return [
    h("p", { class: "soft" }, `sparsity ${sparsityOf(cell.density)} · cell ${cell.id} · suite `,
      h("a", { href: address("board", "", { suite: cell.suite }) }, cell.suite), " · method ",
      h("a", { href: address("method", cell.method) }, cell.method),
      cell.ablation && ` · sanity check ${cell.ablation}: ${page.checks[cell.ablation] || ""}`),
    siblings(cell), cell.status !== "done" && h("div", { class: "failure" },
      h("strong", { class: "alarm" }, cell.status), cell.reason && `: ${cell.reason}`),
    facts([["accuracy, last epoch", known(accuracy.last) ? `${points(accuracy.last)}%` : null],
      [`best epoch (on the ${images} set)`,
        known(accuracy.best) ? `${points(accuracy.best)}% in epoch ${accuracy.best_epoch}` : null],
      ["bits per step", known(cell.bits_per_step) ? cell.bits_per_step.toFixed(4) : null],
      ["achieved density", both(cell.achieved)], ["effective density", both(cell.effective)],
      ["collapsed layers", collapsed.length ? h("span", { class: "alarm" }, collapsed.join(", "))
        : cell.collapsed && "none"],
      ["layers scored alike", cell.constant_scores && h("span", { class: "alarm" }, cell.constant_scores.join(", "))],
      ["without masks", cell.left_out],
    ], "across"),
    cell.command && facts([["command", command(cell.command)]], "facts stack"),
    cell.curves && curvesView(cell, images), cell.layers && cell.layers.length > 0 && layersView(cell.layers, collapsed),
    h("div", { class: "columns" }, metricsView(cell.metrics || {}), costView(cell), section("Hyper-parameters", cell.hyper),
      section("Recipe", cell.recipe)),
    section("Environment", cell.environment),
  ];
}

/* The other seeds of the same row, to step between them, and the sanity checks of the row. */
function siblings(cell) {
  const board = boards.find(({ suite }) => suite === cell.suite);
  const row = board && board.rows.find((r) => r.line === cell.line && r.density === cell.density);
  if (!row) return null;
  const seedsOf = (name, group) => group.cells.length > 0 && h("nav", { "aria-label": name },
    h("span", { class: "soft" }, name), group.cells.map((id, i) => h("a", { href: address("cell", id),
      "aria-current": id === cell.id ? "page" : null }, String(group.seeds[i]))));
  return [seedsOf("seeds", row), Object.entries(row.checked || {}).map(([name, group]) => seedsOf(name, group))];
}

function curvesView(cell, images) {
  const { curves } = cell;
  const epochs = epochsOf(curves);
  const look = (i) => ({ color: `var(--c${i})`, dash: DASHES[i], marker: null, width: 1.8 });
  const charts = [
    ["loss", [["train", curves.train_loss, look(0)], [images, curves.test_loss, look(1)]], [0, Infinity], 1,
      (value) => value.toPrecision(4)],
    [`${images} accuracy, %`, [[images, curves.test_accuracy, look(1)]], [0, 1], 100, points],
  ].map(([yLabel, all, limits, scale, format]) => {
    const lines = all.filter(([, values]) => (values || []).some(known));
    const { host } = plot(() => curveSpec(epochs, lines, { yLabel, limits, scale, format }));
    const file = () => [`${cell.id}-${yLabel.replace(/\W+/g, "-").replace(/-$/, "")}.svg`, "image/svg+xml",
      svgText(host.querySelector("svg"))];
    return lines.length > 0 && h("figure", {}, h("div", { class: "legend", style: "padding-left: .4rem; gap: 1rem" },
      lines.map(([name, , style]) => h("span", { class: "note" }, swatch(style), name)), saver("SVG", file)), host);
  });
  return charts.some(Boolean) && [h("h3", {}, "Training"),
    h("div", { class: "curves" }, charts),
    curves.every > 1 && h("p", { class: "note" }, `Every ${curves.every} epochs, and the last; the store has all.`)];
}

/* Long curves are stored here at every few epochs, and at the last. */
function epochsOf({ every, epochs }) {
  const count = Math.ceil(epochs / every);
  return [...Array(count).keys()].map((i) => Math.min(epochs, (i + 1) * every));
}

function curveSpec(epochs, lines, { yLabel, limits, scale, format }) {
  const [first, last] = [Math.min(...epochs), Math.max(...epochs)];
  const ticks = niceTicks(first, Math.max(last, first + 1), 6).ticks.filter(Number.isInteger);
  return {
    series: lines.map(([, values, look]) => ({ look, points: epochs.map((x, i) => ({ x, y: values[i] })) })),
    limits, scale, height: 250, yLabel, xLabel: "epoch", label: `${yLabel} over the epochs`,
    map: (x) => (last > first ? (x - first) / (last - first) : 0.5),
    ticks: ticks.map((x) => ({ x, label: String(x) })),
    tip: (x) => ({ title: `epoch ${x}`, rows: lines.filter(([, values]) => known(values[epochs.indexOf(x)]))
      .map(([name, values, look]) => [look, name, format(values[epochs.indexOf(x)])]) }),
  };
}

function layersView(layers, collapsed) {
  const fields = [["start", "kept_start", "bar thin"], ["end", "kept_end", "bar"],
    ["effective", "effective", "bar thin"]];
  const part = (layer, field) => (known(layer[field]) && layer.total ? layer[field] / layer.total : null);
  const top = Math.max(...layers.flatMap((layer) => fields.map(([, field]) => part(layer, field) || 0))) || 1;
  const density = (layer, field, kind) => {
    const bar = h("i");
    bar.style.width = `${(100 * (part(layer, field) || 0)) / top}%`;
    return h("td", {}, share(part(layer, field)),
      h("span", { class: "soft" }, known(layer[field]) && ` (${whole(layer[field])})`),
      h("span", { class: kind, "aria-hidden": "true" }, bar));
  };
  const heads = ["layer", "shape", "weights", ...fields.map(([name]) => name)].map((name) =>
    h("th", { scope: "col", class: name === "weights" ? "num" : null }, name));
  const rows = layers.map((layer) => h("tr", {},
    h("th", { scope: "row" }, layer.name,
      collapsed.includes(layer.name) && h("span", { class: "kind alarm" }, "collapsed")),
    h("td", {}, (layer.shape || []).join(" × ")), h("td", { class: "num" }, whole(layer.total)),
    fields.map(([, field, kind]) => density(layer, field, kind))));
  return [h("h3", {}, "Density of each layer"),
    scrolling("layers",
      h("table", { class: "data layers" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows))),
    h("p", { class: "note" }, "Weights kept at the start and end of training, and at the end those on a path from ",
      `input to output. Bars run from 0 to ${share(top)}.`)];
}

/* Without decimals given, as exactly as it is known here. */
function figure(value, decimals) {
  if (known(decimals)) return value.toFixed(decimals);
  return Math.abs(value) >= 1000 ? whole(Math.round(value)) : String(value);
}

function metricsView(values) {
  const pairs = (page.metrics || []).filter(({ name }) => known(values[name])).map(({ name, about, unit, decimals }) =>
    [h("span", { title: about }, name), `${figure(values[name], decimals)} ${unit}`]);
  return pairs.length > 0 && h("section", {}, h("h3", {}, "Metrics"), facts(pairs, "facts"));
}

function costView(cell) {
  const { flops, seconds } = cell;
  const ratio = flops && flops.inference_dense && known(flops.inference)
    ? `, ${share(flops.inference / flops.inference_dense)} of dense` : "";
  const pairs = Object.entries(flops || {}).map(([name, value]) => [`FLOPs, ${name.replaceAll("_", " ")}`,
    known(value) ? short(value) + (name === "inference" ? ratio : "") : null]);
  const spent = Object.entries(seconds || {}).filter(([, value]) => known(value));
  spent.forEach(([name, value]) => pairs.push([`seconds, ${name}`, value.toFixed(2)]));
  const { shrunk } = cell;
  if (shrunk) pairs.push(["units left", `${whole(shrunk.units)} of ${whole(shrunk.units_dense)}`],
    ["parameters left", `${whole(shrunk.parameters)} of ${whole(shrunk.parameters_dense)}`],
    ["FLOPs without dead units", short(shrunk.flops)]);
  if (cell.architecture) pairs.push(["without dead neurons", cell.architecture]);
  if (known(cell.memory_mb)) pairs.push(["peak memory", `${whole(Math.round(cell.memory_mb))} MB`]);
  return pairs.length > 0 && h("section", {}, h("h3", {}, "Cost"), facts(pairs, "facts"));
}

/* Nested records are shown flat, their keys joined by dots. */
function flatten(record, prefix = "") {
  return Object.entries(record).flatMap(([name, value]) =>
    (value && typeof value === "object" && !Array.isArray(value) ? flatten(value, `${prefix}${name}.`)
      : [[prefix + name, typeof value === "string" ? value : JSON.stringify(value)]]));
}

function section(title, record) {
  if (!record) return null;
  const pairs = flatten(record);
  return h("section", {}, h("h3", {}, title),
    pairs.length ? facts(pairs, "facts") : h("p", { class: "soft" }, "all at their defaults"));
}

