/* ---- names at the ends of lines: beside the frame where all lines end there, otherwise at each end ---- */

const LETTER = 6.3;
const LINE_HEIGHT = 13;

/* Room for the longest name, but never more than a part of the plot: the rest of a name is in the legend. */
function labelRoom(series, width) {
  const longest = Math.max(0, ...series.map((s) => (s.label || "").length));
  return longest ? Math.min(longest * LETTER + 16, Math.max(90, width * 0.18)) : 0;
}

/* Names are moved apart where lines end close together; a thin stroke leads to each, but from a line that the frame cuts. */
function endLabels(series, Y, box, room) {
  const ends = series.map((s) => [s, s.points.filter((p) => known(p.y)).at(-1)]).filter(([s, end]) => s.label && end)
    .map(([s, end]) => ({ s, y: Math.min(box.bottom, Math.max(box.top, Y(end.y))), cut: Y(end.y) > box.bottom }))
    .sort((a, b) => a.y - b.y);
  const step = Math.min(LINE_HEIGHT, (box.bottom - box.top) / Math.max(1, ends.length - 1));
  spread(ends, step, box.top, box.bottom).forEach((place, i) => { ends[i].at = place; });
  const letters = Math.max(3, Math.floor((room - 12) / LETTER));
  const text = (name) => (name.length > letters ? `${name.slice(0, letters - 1)}…` : name);
  const from = box.right + 2;
  return ends.map(({ s, y, at, cut }) => svg("g", { class: "end" },
    !cut && svg("path", { d: `M${from - 8} ${y}L${from + 6} ${at}`, stroke: s.look.color, fill: "none" }),
    svg("text", { x: from + 9, y: at + 4, "data-line": s.label }, text(s.label))));
}

/* A name right of the last point of each line, or above it where the frame ends; moved where another stands. */
const OFFSETS = [...Array(9).keys()].flatMap((steps) => [steps / 2, -steps / 2]);

function inlineLabels(series, X, Y, box) {
  const placed = [];
  return series.map((s) => [s, s.points.filter((p) => known(p.y)).at(-1)])
    .filter(([s, end]) => s.label && end && Y(end.y) <= box.bottom).map(([s, end]) => {
      const width = s.label.length * LETTER;
      const turned = X(end.x) + 9 + width > box.right;
      const left = turned ? X(end.x) - width : X(end.x) + 9;
      const free = (y) => y > box.top - 8 && y < box.bottom && !placed.some((other) => left < other.left + other.width &&
        other.left < left + width && Math.abs(other.y - y) < LINE_HEIGHT - 1);
      const first = Y(end.y) + (turned ? -9 : 4);
      const y = OFFSETS.map((steps) => first + steps * LINE_HEIGHT).find(free) || first;
      placed.push({ left, width, y });
      return svg("g", { class: "end" }, svg("text", { x: turned ? X(end.x) : left, y, "data-line": s.label,
        "text-anchor": turned ? "end" : null }, s.label));
    });
}

/* Sorted places, at least a step apart and inside of the frame, each as near to its own as that allows. */
function spread(ends, step, top, bottom) {
  const places = [];
  ends.forEach(({ y }, i) => places.push(Math.max(y, i ? places[i - 1] + step : top)));
  for (let i = places.length - 1, limit = bottom; i >= 0; i--, limit -= step) places[i] = Math.min(places[i], limit);
  return places;
}
