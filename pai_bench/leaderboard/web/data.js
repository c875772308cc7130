/* ---- the data: boards and claims at once, single cells only when one is asked for ---- */

const page = JSON.parse(document.getElementById("data").textContent);
const boards = page.boards || [];
const papers = page.claims || [];
const methods = page.methods || {};

/* Details are lines of JSON: first what cells share (environments, recipes, ...), then a line for each cell, which
   begins with its id. Ten thousand of them are cut into lines in milliseconds; parsing all would take seconds. */
const details = { shared: null, lines: null };

function openDetails() {
  if (details.lines) return;
  const [first, ...rest] = document.getElementById("details").textContent.split("\n");
  details.shared = JSON.parse(first);
  details.lines = new Map(rest.map((line) => [line.slice(7, line.indexOf('"', 7)), line]));
}

/* The cell of an id, or of the start of one where only one cell has it. */
function cellOf(id) {
  openDetails();
  if (details.lines.has(id)) return unpacked(JSON.parse(details.lines.get(id)));
  const found = id.length > 3 ? [...details.lines.keys()].filter((key) => key.startsWith(id)) : [];
  return found.length === 1 ? unpacked(JSON.parse(details.lines.get(found[0]))) : null;
}

function unpacked(cell) {
  const { shared } = details;
  const whole = { ...cell };
  for (const name of Object.keys(shared)) if (known(cell[name])) whole[name] = shared[name][cell[name]];
  if (whole.layers) whole.layers = whole.layers.map(([name, shape, total], i) => {
    const [kept_start, kept_end, effective] = cell.kept[i];
    return { name, shape, total, kept_start, kept_end, effective };
  });
  return whole;
}

/* ---- addresses: #/view/name?filters ---- */

function address(view, name, query) {
  const wanted = Object.entries(query || {}).filter(([, value]) => known(value) && value !== "");
  const text = new URLSearchParams(wanted).toString();
  return `#/${view}${name ? `/${encodeURIComponent(name)}` : ""}${text ? `?${text}` : ""}`;
}

function readAddress() {
  const [path, text] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = path.split("/");
  let name = rest.join("/");
  try { name = decodeURIComponent(name); } catch { /* a stray % stays as it is */ }
  return { view: view || "board", name, query: Object.fromEntries(new URLSearchParams(text || "")) };
}
