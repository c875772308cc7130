/* ---- one look per line: the colour is that of its method on every page, marker and dash tell apart who shares it ---- */

const MARKERS = ["circle", "square", "triangle", "diamond", "down", "cross"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "14 3"];
const COLORS = 8;
const PATTERNS = MARKERS.length * DASHES.length;
const looks = assignLooks();

/* A number from a name, for methods that no list has and for variants of a method. */
function hashOf(text) {
  let hash = 0;
  for (const character of text) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return hash;
}

/* The colour of a method, and the pattern that tells it from others of that colour. */
function lookOf(method) {
  const color = (page.colors || []).findIndex((names) => names.includes(method));
  if (color < 0) return [hashOf(method) % COLORS, hashOf(method) % PATTERNS];
  const place = page.colors[color].indexOf(method);
  return [color, place * MARKERS.length + ((color + 2 * place) % MARKERS.length)];
}

function assignLooks() {
  const rows = new Map(boards.flatMap((board) => board.rows).map((row) => [row.line, row]));
  const rank = { paper: 0, baseline: 1, reference: 2 };
  /* A method itself comes before its variants, which get other patterns. */
  const varied = (row) => row.line !== row.method;
  const ordered = [...rows.values()].sort((a, b) => rank[a.kind] - rank[b.kind] || varied(a) - varied(b));
  const taken = new Set();
  return new Map(ordered.map((row) => [row.line, row.kind === "reference"
    ? { color: "var(--ink)", dash: "12 4", marker: null, width: 1.2 } : distinctLook(row, taken)]));
}

function distinctLook(row, taken) {
  const [color, own] = lookOf(row.method);
  const free = (pattern) => !taken.has(`${color} ${pattern}`);
  let pattern = free(own) ? own : hashOf(row.line) % PATTERNS;
  for (let tries = 0; tries < PATTERNS && !free(pattern); tries++) pattern = (pattern + 1) % PATTERNS;
  taken.add(`${color} ${pattern}`);
  return { color: `var(--c${color})`, marker: MARKERS[pattern % MARKERS.length],
    dash: DASHES[Math.floor(pattern / MARKERS.length)], width: row.kind === "paper" ? 2.6 : 1.6 };
}

function marker(shape, x, y, look, hollow) {
  const paths = {
    circle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", square: "M-3.5 -3.5h7v7h-7z", triangle: "M0 -4.6L4.3 3.2H-4.3z",
    diamond: "M0 -4.9L4.6 0L0 4.9L-4.6 0z", down: "M0 4.6L4.3 -3.2H-4.3z",
    cross: "M-1.5 -4.2h3v2.7h2.7v3h-2.7v2.7h-3v-2.7h-2.7v-3h2.7z",
  };
  return svg("path", { d: paths[shape], transform: `translate(${x} ${y})`, stroke: look.color,
    "stroke-width": 1.4, fill: hollow ? "var(--page)" : look.color });
}

function swatch(look) {
  const line = svg("path", { d: "M1 6H33", stroke: look.color, "stroke-width": look.width,
    "stroke-dasharray": look.dash });
  return svg("svg", { class: "swatch", viewBox: "0 0 34 12", "aria-hidden": "true" },
    line, look.marker && marker(look.marker, 17, 6, look));
}

