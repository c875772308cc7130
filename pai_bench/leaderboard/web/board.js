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
function boardView(board, asked, several, changed) {
  const chart = boardChart(board, asked, changed);
  const table = boardTable(board, asked);
  const body = h("div", {});
  const update = () => { chart.show(new Set(board.rows.filter((row) => ofLine(row, asked)).map((row) => row.line)));
    table.update(); };
  const draw = () => {
    if (body.firstChild) return;
    body.append(...nodes([boardFacts(board), chart.view, rankingView(board), table.view]));
    update();
  };
  const refresh = () => body.firstChild && chart.refresh();
  const name = h("h2", {}, board.suite);
  if (!several) {
    draw();
    const titled = page.title.includes(board.suite) && boards.length === 1; // the page's own heading says it
    return { view: h("section", { class: titled ? null : "board", "aria-label": board.suite }, !titled && name, body), update, refresh, open: draw };
  }
  const told = `${board.network} · ${board.data} · ${whole(cellsOf(board))} results`;
  const fold = h("details", { class: "board", toggle: () => fold.open && draw() },
    h("summary", {}, name, h("span", { class: "soft" }, told)), body);
  return { view: fold, update: () => body.firstChild && update(), refresh, open: () => { fold.open = true; draw(); } };
}

const cellsOf = (board) => board.rows.reduce((sum, row) => sum + row.n, 0);

function boardFacts(board) {
  return [board.about && board.about !== page.about && h("p", {}, board.about),
    facts([["network", board.network], ["data", board.data], ["epochs", known(board.epochs) ? whole(board.epochs) : ""],
      ["prunable weights", known(board.prunable) ? whole(board.prunable) : ""],
      ["seeds", (board.seeds || []).join(", ")], ["results", whole(cellsOf(board))]], "across")];
}
