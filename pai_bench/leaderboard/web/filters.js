/* ---- the leaderboard: filters, then the boards that they leave ---- */

const distinct = (values) => [...new Set(values)];

/* What is asked for stands in the address, so that it can be linked to; typing makes no history. */
function remember(asked) {
  const { view, name } = readAddress();
  history.replaceState(null, "", address(view, name, asked));
}

function setter(asked, update) {
  return (key) => (event) => {
    asked[key] = event.target.value;
    remember(asked);
    update();
  };
}

/* A select of the values and all; null where there is no choice. */
function choice(label, values, chosen, change, text = String) {
  return (values.length > 1 || chosen) && h("label", {}, label, h("select", { change }, h("option", { value: "" }, "all"),
    values.map((value) => h("option", { value: String(value), selected: String(value) === chosen }, text(value)))));
}

function boardPage(asked) {
  const shown = boards.filter((board) => !asked.suite || board.suite === asked.suite);
  const several = boards.length > 1;
  const views = new Map();
  const root = h("div", {});
  const changed = () => { remember(asked); views.forEach(({ refresh }) => refresh()); };
  const update = () => {
    const found = shown.filter((board) => (!asked.data || board.data === asked.data) &&
      (!asked.network || board.network === asked.network));
    found.forEach((board) => views.has(board) || views.set(board, boardView(board, asked, several && shown.length > 1, changed)));
    root.replaceChildren(...found.map((board) => views.get(board).view));
    if (!found.length) root.append(h("p", { class: "board" }, boards.length ? "No suite is left by these filters." : "No results yet."));
    found.forEach((board) => views.get(board).update());
    if (found.length === 1) views.get(found[0]).open();
  };
  update();
  if (views.size && ![...views.values()].some(({ view }) => view.tagName !== "DETAILS" || view.open))
    views.values().next().value.open();
  return { title: page.title, content: [h("p", { class: "lead" }, page.about || ""), whatHolds(),
    boards.length > 0 && filters(asked, update), root, h("h2", { class: "board" }, "Make it"),
    facts([["run it", command(page.command)], ["rebuild this page", command(page.rebuild)]], "facts stack"),
    page.bibtex && [h("h3", {}, "To cite PaI-Bench"), citation(page.bibtex)]] };
}

function filters(asked, update) {
  const set = setter(asked, update);
  const of = (key) => distinct(boards.map((board) => board[key])).sort();
  const kinds = distinct(boards.flatMap((board) => board.rows.map((row) => row.kind)));
  const densities = distinct(boards.flatMap(densitiesOf)).sort((a, b) => b - a);
  const suite = (event) => { asked.suite = event.target.value; location.hash = address("board", "", asked).slice(1); };
  return h("form", { class: "tools", role: "search", submit: (event) => event.preventDefault() },
    choice("suite", of("suite"), asked.suite, suite),
    choice("data set", of("data"), asked.data, set("data")),
    choice("network", of("network"), asked.network, set("network")),
    choice("density", densities, asked.density, set("density"), both),
    choice("kind of method", kinds, asked.kind, set("kind")),
    h("label", {}, "filter", h("input", { type: "search", placeholder: "line, kind, reason", value: asked.text, input: set("text") })),
    h("a", { class: "reset", href: "#/board" }, "show all"));
}
