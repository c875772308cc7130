/* ---- one look per line, the same on every board: colour, marker and dash all differ ---- */

const MARKERS = ["circle", "square", "triangle", "diamond", "down", "cross"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "14 3"];
const looks = assignLooks();

function assignLooks() {
  const rows = boards.flatMap((board) => board.rows);
  const kinds = new Map(rows.map((row) => [row.line, row.kind]));
  const rank = { paper: 0, baseline: 1, reference: 2 };
  const lines = [...kinds.keys()].sort((a, b) => rank[kinds.get(a)] - rank[kinds.get(b)]);
  return new Map(lines.map((line, i) => [line, kinds.get(line) === "reference"
    ? { color: "var(--ink)", dash: "12 4", marker: null, width: 1.2 }
    : { color: `var(--c${i % 7})`, dash: DASHES[i % 5], marker: MARKERS[i % 6],
        width: kinds.get(line) === "paper" ? 2.6 : 1.6 }]));
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

