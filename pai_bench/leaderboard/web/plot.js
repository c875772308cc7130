/* ---- a plot: lines with bands over ticks on x, used for the boards and for the training curves ---- */

function niceTicks(low, high, wanted) {
  const raw = (high - low) / wanted;
  const base = 10 ** Math.floor(Math.log10(raw));
  const step = base * [1, 2, 2.5, 5, 10].find((factor) => factor * base >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(i * step);
  return { ticks, digits: (String(Number(step.toPrecision(3))).split(".")[1] || "").length };
}

/* Ticks of 1, 2 and 5 times powers of ten; where fewer than three fit, those of a plain axis. */
function logTicks(low, high, wanted) {
  const powers = [...Array(12).keys()].map((i) => i - 6);
  const ticks = powers.flatMap((power) => [1, 2, 5].map((factor) => Number(`${factor}e${power}`)))
    .filter((tick) => tick >= low && tick <= high);
  return ticks.length > 2 ? { ticks, digits: null } : niceTicks(low, high, wanted);
}

/* A place for each value on y, from 0 to 1 in the range of `series`; on a log axis, zero lies on the frame. */
function yAxis(spec) {
  const to = spec.log ? (y) => Math.log10(Math.max(y, 1e-9)) : (y) => y;
  const [y0, y1] = rangeOf(spec, to);
  const back = spec.log ? (t) => 10 ** t : (t) => t;
  const place = (y) => (Math.max(to(y), spec.log ? y0 : -Infinity) - y0) / (y1 - y0);
  return { place, low: back(y0) * spec.scale, high: back(y1) * spec.scale };
}

/* A band may be far wider than the means are apart (two seeds: t = 12.7). It may stretch the axis by
   a part of the spread of the means on either side; beyond that it is cut at the frame. */
function rangeOf({ series, limits, log }, to) {
  const places = (list) => list.filter((y) => known(y) && y >= limits[0] && (!log || y > 0)).map(to);
  const values = places(series.flatMap((s) => [...s.points, ...(s.printed || [])].map((p) => p.y)));
  const ends = places(series.flatMap((s) => s.points.flatMap((p) => [p.low, p.high])));
  if (!values.length) return [to(log ? 0.01 : 0), to(1)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max((log ? 0.08 : 0.6) * (high - low), 1e-3 * Math.abs(high), log ? 0.05 : 1e-6);
  const bottom = Math.max(Math.min(low, ...ends), low - room);
  const top = Math.min(Math.max(high, ...ends), high + room);
  const pad = 0.04 * (top - bottom) || room;
  return [Math.max(log ? -9 : limits[0], bottom - pad), Math.min(to(limits[1]), top + pad)];
}

/* Neighbouring points for which `has` holds: a missing value is a gap, not a straight line across. */
function runs(list, has) {
  const found = [[]];
  for (const point of list) has(point) ? found[found.length - 1].push(point) : found.push([]);
  return found.filter((run) => run.length);
}

/* More points than this are drawn as a line without markers. */
const CROWD = 40;

/* What a paper printed: a hollow ring with its spread over runs, in the colour of the line that replicates it. */
function printedMark(p, look, X, Y) {
  const [x, y] = [X(p.x), Y(p.y)];
  return svg("g", { class: "printed", stroke: look.color, fill: "none", "stroke-width": 1.5 },
    known(p.spread) && svg("path", { d: `M${x} ${Y(p.y - p.spread)}V${Y(p.y + p.spread)}` }),
    svg("circle", { cx: x, cy: y, r: 7, "stroke-dasharray": p.rough ? "2 2" : null }));
}

function drawSeries(s, X, Y, alone) {
  const { look } = s;
  const path = (list, pick) => list.map((p) => `${X(p.x).toFixed(1)} ${Y(pick(p)).toFixed(1)}`).join("L");
  const bands = runs(s.points, (p) => known(p.low) && known(p.high)).map((run) => (run.length > 1
    ? svg("path", { d: `M${path(run, (p) => p.high)}L${path([...run].reverse(), (p) => p.low)}z`,
        fill: look.color, "fill-opacity": 0.11 })
    : svg("path", { d: `M${path([run[0], run[0]], (p) => (p === run[0] ? p.high : p.low))}V${Y(run[0].low)}`,
        stroke: look.color, "stroke-opacity": 0.5, "stroke-width": 3 })));
  const stub = ([p]) => `M${X(p.x) - 12} ${Y(p.y)}h24`;
  const strokes = runs(s.points, (p) => known(p.y)).map((run) => svg("path", {
    d: look.marker || run.some((p) => X(p.x) !== X(run[0].x)) ? `M${path(run, (p) => p.y)}` : stub(run),
    fill: "none", stroke: look.color, "stroke-width": look.width, "stroke-dasharray": look.dash,
    "stroke-linejoin": "round" }));
  const marks = look.marker && s.points.length < CROWD
    ? s.points.filter((p) => known(p.y)).map((p) => marker(look.marker, X(p.x), Y(p.y), look, p.hollow)) : [];
  const group = (name, ...parts) => svg("g", { class: name, "data-line": s.label || "" }, ...parts);
  return { bands: group(s.band || alone ? "band on" : "band", bands), strokes: group("line", strokes, marks),
    printed: (s.printed || []).map((p) => printedMark(p, look, X, Y)) };
}

/* Labels are dropped where they would touch the one before; their tick marks stay. */
function drawXTicks(ticks, X, bottom) {
  const longest = Math.max(0, ...ticks.flatMap(({ label, below }) => [label.length, (below || "").length]));
  const room = Math.max(26, longest * LETTER + 8);
  let edge = -Infinity;
  return ticks.map((tick) => {
    const x = X(tick.x);
    const fits = x - edge >= room;
    if (fits) edge = x;
    return svg("g", {}, svg("path", { class: "axis", d: `M${x} ${bottom}v5` }),
      fits && svg("text", { x, y: bottom + 18, "text-anchor": "middle" }, tick.label),
      fits && tick.below && svg("text", { class: "minor", x, y: bottom + 33, "text-anchor": "middle" }, tick.below));
  });
}

/* spec() gives: series [{look, points [{x, y, low, high, hollow}], band (shown?), label (at its end)}], map (x to the unit
   interval), ticks [{x, label, below}], limits (of y), log (is y?), scale (of the y labels), xLabel, yLabel,
   label, height, tip(x) -> {title, rows [[look, name, ...texts]]}, stops (where the tip may stand; default: every x),
   pick(label) (a line was clicked), inline (do lines end at places of their own?). The plot redraws itself at its own
   width, so that text keeps its size on a phone. */
function plot(spec) {
  const host = h("div", { class: "plot" });
  const tip = h("div", { class: "tip", role: "status", hidden: true });
  let width = 0;
  const redraw = () => {
    if (!host.clientWidth) return;
    width = host.clientWidth;
    tip.hidden = true;
    host.replaceChildren(drawPlot(spec(), width, tip), tip);
  };
  queueMicrotask(redraw); // the host is on the page by then: nobody sees an empty frame
  new ResizeObserver(() => host.clientWidth !== width && redraw()).observe(host);
  return { host, redraw };
}

/* How far from its place on x each line stands: where all share one place, side by side. */
function sideBySide(series, width) {
  const step = Math.min(40, width / series.length);
  return (s) => (series.indexOf(s) - (series.length - 1) / 2) * step;
}

function drawPlot(spec, width, tip) {
  const height = Math.round(Math.min(spec.height, Math.max(240, width * 0.72)));
  const alone = new Set(spec.series.flatMap((s) => s.points.map((p) => p.x))).size < 2;
  const room = alone || spec.inline ? 0 : labelRoom(spec.series, width);
  const box = { left: 46, right: width - Math.max(14, room), top: 26, bottom: height - (spec.ticks.some((t) => t.below) ? 58 : 44) };
  const axis = yAxis(spec);
  const X = (x) => box.left + 10 + spec.map(x) * (box.right - box.left - 20);
  const Y = (y) => box.bottom - axis.place(y) * (box.bottom - box.top);
  const { ticks, digits } = (spec.log ? logTicks : niceTicks)(axis.low, axis.high, height / 60);
  const lines = ticks.map((tick) => svg("g", {},
    svg("path", { class: "grid", d: `M${box.left} ${Y(tick / spec.scale)}H${box.right}` }),
    svg("text", { x: box.left - 7, y: Y(tick / spec.scale) + 4, "text-anchor": "end" }, known(digits) ? tick.toFixed(digits) : String(tick))));
  /* The first line, that of the paper, is drawn last and lies on top. */
  const shift = alone ? sideBySide(spec.series, box.right - box.left - 20) : () => 0;
  const layers = [...spec.series].reverse().map((s) => drawSeries(s, (x) => X(x) + shift(s), Y, alone));
  const cursor = svg("path", { class: "axis", "stroke-dasharray": "2 2" });
  const frame = { viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "group", "aria-label": spec.label };
  const picture = svg("svg", frame,
    svg("text", { class: "minor", x: 0, y: 12 }, spec.yLabel), lines,
    svg("path", { class: "axis", d: `M${box.left} ${box.bottom}H${box.right}` }),
    drawXTicks(spec.ticks, X, box.bottom), cursor,
    framed(box, layers.map((l) => l.bands), layers.map((l) => l.strokes), layers.map((l) => l.printed)),
    !alone && (spec.inline ? inlineLabels(spec.series, X, Y, box) : endLabels(spec.series, Y, box, room)),
    svg("text", { class: "minor", x: box.right, y: height - 6, "text-anchor": "end" }, spec.xLabel));
  explore(picture, spec, X, box, cursor, tip, (x, at) => (alone ? null : nearestLine(spec.series, x, at, Y)));
  return picture;
}

/* The line that runs closest to a height, at a place on x. */
function nearestLine(series, x, at, Y) {
  const gaps = series.flatMap((s) => s.points.filter((p) => known(p.y) && (p.x === x || s.points.length < 3))
    .map((p) => [Math.abs(Y(p.y) - at), s.label]));
  return gaps.reduce((best, gap) => (gap[0] < best[0] ? gap : best), [40, null])[1];
}

/* Show one line above the others, with its band. */
function emphasise(picture, line) {
  picture.classList.toggle("dim", known(line));
  picture.querySelectorAll("[data-line]").forEach((part) =>
    part.classList.toggle("lit", part.getAttribute("data-line") === line));
}

/* A name that is pointed at or has the focus lights its line. */
function light(button, host, line) {
  const on = () => host.querySelector("svg") && emphasise(host.querySelector("svg"), line);
  const off = () => host.querySelector("svg") && emphasise(host.querySelector("svg"), null);
  fill(button, { pointerenter: on, focus: on, pointerleave: off, blur: off }, []);
}

/* An inner svg cuts what lies beyond the frame, less a margin for the markers on its edge. */
function framed({ left, right, top, bottom }, ...content) {
  const [x, y, width, height] = [left, top - 6, right - left, bottom - top + 6];
  return svg("svg", { x, y, width, height, viewBox: `${x} ${y} ${width} ${height}` }, content.flat(2));
}

/* Pointer and arrow keys choose a place on x; the tip reads every line there. */
function explore(picture, spec, X, box, cursor, tip, lineAt) {
  const stops = [...new Set(spec.series.flatMap((s) => s.points.map((p) => p.x)))]
    .filter((x) => !spec.stops || spec.stops.has(x)).sort((a, b) => X(a) - X(b));
  let at = -1;
  const show = (index) => {
    at = index;
    tip.hidden = at < 0;
    cursor.setAttribute("d", at < 0 ? "" : `M${X(stops[at])} ${box.top}V${box.bottom}`);
    if (at < 0) return;
    const { title, rows } = spec.tip(stops[at]);
    tip.replaceChildren(h("strong", {}, title), h("table", {}, rows.map(([look, name, ...texts]) =>
      h("tr", {}, h("td", {}, swatch(look), name), texts.map((text) => h("td", {}, text))))));
    const x = X(stops[at]);
    /* Accuracy falls to the right and error rises, which leaves the lower or the upper left corner free. */
    const left = x - 14 - tip.offsetWidth;
    tip.style.left = `${left >= 0 ? left : Math.max(0, Math.min(x + 14, box.right + 14 - tip.offsetWidth))}px`;
    /* On a phone there is no free corner: there it stands below the plot. */
    tip.style.top = `${box.right < 480 ? box.bottom + 62 : spec.log ? box.top : Math.max(0, box.bottom - 6 - tip.offsetHeight)}px`;
  };
  let line = null;
  const nearest = (event) => {
    if (!stops.length) return;
    const frame = picture.getBoundingClientRect();
    const part = picture.viewBox.baseVal.width / frame.width;
    const gaps = stops.map((stop) => Math.abs(X(stop) - (event.clientX - frame.left) * part));
    const index = gaps.indexOf(Math.min(...gaps));
    if (index !== at) show(index);
    const found = lineAt(stops[index], (event.clientY - frame.top) * part);
    if (found !== line) emphasise(picture, line = found);
  };
  const pick = () => line && spec.pick && spec.pick(line);
  const keys = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step || !stops.length) return;
    event.preventDefault();
    show(Math.min(stops.length - 1, Math.max(0, at + step)));
  };
  const leave = () => { show(-1); emphasise(picture, line = null); };
  fill(picture, { pointermove: nearest, pointerdown: nearest, pointerleave: leave, blur: leave, keydown: keys, click: pick,
    focus: () => at < 0 && stops.length && picture.matches(":focus-visible") && show(0) }, []);
}

