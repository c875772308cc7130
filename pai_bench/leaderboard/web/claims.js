/* ---- the claims of a paper: printed, measured, verdict and why ---- */

/* A sign beside the word: colour alone says nothing. */
const SIGNS = { reproduced: "✓", "not reproduced": "✗", inconclusive: "?", "not run": "·" };

function papersPage() {
  return { title: "Claims", content: [
    h("p", {}, "What papers print, held against results: those of this page, and the evidence kept with the code."),
    papersTable()] };
}

function papersTable() {
  const heads = ["paper", ...Object.keys(SIGNS), ""].map((name, i) => h("th", { scope: "col",
    class: name in SIGNS ? "num" : null }, SIGNS[name] ? stateView(name) : name));
  const rows = papers.map((paper) => h("tr", {}, h("th", { scope: "row" },
    h("a", { href: address("claims", paper.paper) }, paper.title || paper.paper)),
    Object.keys(SIGNS).map((state) => h("td", { class: "num", "data-sign": SIGNS[state] }, h("a", {
      href: address("claims", paper.paper, { state }), "aria-label": `${paper.states[state]} ${state}` },
      whole(paper.states[state])))), h("td", {}, paper.venue)));
  return scrolling("papers", h("table", { class: "data papers" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)));
}

/* First on a page of all suites: what became of what the papers say. */
function whatHolds() {
  return papers.length > 0 && boards.length > 1 && h("section", { "aria-label": "what holds" },
    h("h2", {}, "What holds"), papersTable(),
    h("p", { class: "note" }, "Printed values and orders, held against results of ours: replications, with new code. ",
      "Numbers lead to the claims."));
}

function claimsPage(name, asked) {
  const paper = papers.find((found) => found.paper === name);
  if (!paper) return { title: "No such paper", content: [
    h("p", {}, "This page holds no claims of ", h("code", {}, name), ".")] };
  const list = h("div", {});
  const tested = new Set(paper.claims.filter((claim) => claim.measured).map((claim) => claim.block));
  const blocks = Object.keys(paper.blocks).sort((a, b) => tested.has(b) - tested.has(a)); // otherwise as in the file
  const count = h("output", { "aria-live": "polite" });
  const update = () => {
    const shown = paper.claims.filter((claim) => (!asked.state || claim.state === asked.state) &&
      [claim.id, claim.reason].join(" ").toLowerCase().includes((asked.text || "").trim().toLowerCase()));
    count.textContent = `${whole(shown.length)} of ${whole(paper.claims.length)} claims`;
    let before = 0;
    const views = blocks.flatMap((name) => {
      const found = shown.filter((claim) => claim.block === name);
      const view = found.length ? [{ name, view: blockView(paper, name, found, asked, before) }] : [];
      before += found.length;
      return view;
    });
    const [first, later] = [true, false].map((is) => views.filter(({ name }) => tested.has(name) === is).map(({ view }) => view));
    list.replaceChildren(...first, ...untestedView(later, asked));
  };
  const set = setter(asked, update);
  update();
  return { title: `Claims of ${paper.title || name}`, content: [
    h("p", { class: "soft" }, [paper.venue, outside(paper.url), `key: ${name}`].filter(Boolean)
      .flatMap((part, i) => (i ? [" · ", part] : [part]))),
    h("p", {}, "Each value or order that is printed is a claim. Verdicts rest on the results of this page and, unless its ",
      "folder was named, the evidence kept with the code; on at least three seeds; and on p-values adjusted for all tested claims of the paper (Holm). ",
      "These are replications: new code, not the authors'."),
    h("dl", { class: "across" }, Object.entries(paper.states).map(([state, number]) =>
      h("div", {}, h("dt", {}, stateView(state)), h("dd", {}, whole(number))))),
    h("div", { class: "tools" }, choice("verdict", Object.keys(SIGNS), asked.state, set("state")),
      h("label", {}, "filter", h("input", { type: "search", placeholder: "method, table, reason", value: asked.text,
        input: set("text") })), count),
    list,
    paper.missing.length > 0 && [h("h2", {}, "Not among them"), h("ul", {}, paper.missing.map((text) => h("li", {}, text)))],
    h("h2", {}, "Rules"), facts(Object.entries(paper.rules).map(([kind, rule]) =>
      [kind, `reproduced where ${rule}`]), "facts stack"),
    h("h2", {}, "To cite the paper"), citation(paper.bibtex),
  ] };
}

/* Tables of which no claim is tested, as one line until they are asked for. */
function untestedView(views, asked) {
  return views.length ? [h("details", { class: "block", open: Boolean(asked.state || asked.text || asked.claim) }, h("summary", {},
    `${whole(views.length)} ${views.length > 1 ? "tables" : "table"} without a tested claim`), h("div", {}, views))] : [];
}

const outside = (url) => (/^https:\/\//.test(url || "") ? h("a", { href: url, rel: "noreferrer" }, url) : url);
const stateView = (state) => h("span", { class: `state ${state.replace(" ", "-")}` },
  h("b", { "aria-hidden": "true" }, SIGNS[state] || ""), ` ${state}`);

const printedName = (claim) => (claim.method ? claim.method.printed : "statement");
const quantity = ({ metric, unit, epoch }) =>
  metric + (unit ? ` (${unit})` : "") + (epoch === "best" ? " of the best epoch" : "");

/* Claims that are listed at first, in one table and in all that are open: the rest is a click away. */
const OPEN = 24;

/* Tables that hold a tested claim are open, the first of them; so is the one that an address names. */
function blockView(paper, name, claims, asked, before) {
  const block = paper.blocks[name];
  const tested = claims.filter((claim) => claim.measured).length;
  const body = h("div", {});
  const draw = () => { if (!body.firstChild) body.append(...blockBody(paper, block, claims, asked)); };
  const named = asked.claim && claims.some((claim) => claim.id === asked.claim);
  const view = h("details", { class: "block", open: (tested > 0 && (!before || before + claims.length <= OPEN)) || named,
    toggle: () => view.open && draw() }, h("summary", {}, h("strong", {}, name), ` ${block.about} `,
    h("span", { class: "soft" }, `${tested} of ${claims.length} tested `), tallyView(claims)), body);
  if (view.open) draw();
  return view;
}

/* Of a long table, those that are tested come first, and one that an address names. */
function listedFirst(claims, asked) {
  if (claims.length <= OPEN) return [claims, []];
  const weight = (claim) => (claim.id === asked.claim ? 2 : claim.measured ? 1 : 0);
  const ordered = [...claims].sort((a, b) => weight(b) - weight(a));
  return [ordered.slice(0, OPEN), ordered.slice(OPEN)];
}

function tallyView(claims) {
  const count = (state) => claims.filter((claim) => claim.state === state).length;
  return ["reproduced", "not reproduced", "inconclusive"].filter(count).map((state) =>
    h("span", { class: `state ${state.replace(" ", "-")}`, title: state, "aria-label": `${count(state)} ${state}` },
      h("b", {}, SIGNS[state]), `${count(state)} `));
}

function blockBody(paper, block, claims, asked) {
  const heads = ["claim", "claimed", "measured", "difference", "may differ by", "p", "n", "verdict", "why"].map((name) =>
    h("th", { scope: "col", class: ["claim", "verdict", "why"].includes(name) ? null : "num" }, name));
  const [first, later] = listedFirst(claims, asked);
  const rows = (some) => some.map((claim) => claimRow(paper, claim, asked));
  const body = h("tbody", {}, rows(first));
  const more = later.length > 0 && h("button", { type: "button", class: "more",
    click: () => { body.append(...rows(later)); more.remove(); } }, `show ${whole(later.length)} more`);
  const used = [...new Set(claims.flatMap((claim) => claim.deviations))];
  return nodes([
    facts([["source", `${block.source.what} (${block.source.by}, ${block.source.reading})`],
      ["network", block.network], ["data", block.data], ["metric", quantity(block)], ["doubt", block.doubt]], "facts"),
    scrolling(`claims of ${block.about}`, h("table", { class: "data claims" }, h("thead", {}, h("tr", {}, heads)), body)), more,
    used.length > 0 && [h("p", { class: "note" }, "Our cells differ from the paper:"),
      h("ul", { class: "note" }, used.map((index) => h("li", {}, paper.deviations[index])))],
  ]);
}

function claimRow(paper, claim, asked) {
  const { measured } = claim;
  const number = (value) => minus(value.toFixed(claim.digits));
  const plus = (value) => (value < 0 ? "" : "+") + number(value);
  const ends = measured && known(measured.difference.low)
    && ` [${plus(measured.difference.low)}, ${plus(measured.difference.high)}]`;
  const row = h("tr", { id: `claim-${claim.id}`, class: claim.id === asked.claim ? "named" : null },
    h("th", { scope: "row" }, h("a", { href: address("claims", paper.paper, { claim: claim.id }) }, printedName(claim)),
      claim.at && h("span", { class: "kind" }, claim.suite ? `density ${share(Number(claim.at))}` : claim.at)),
    h("td", { class: "num" }, claim.claimed),
    h("td", { class: "num" }, measured && claim.kind !== "ordering" ? number(measured.ours.mean) : NONE),
    h("td", { class: "num" }, measured ? [plus(measured.difference.mean), ends] : NONE),
    h("td", { class: "num" }, measured ? allowed(measured.tolerance, number) : NONE),
    h("td", { class: "num" }, measured && known(measured.p_adjusted) ? measured.p_adjusted.toPrecision(2) : NONE),
    h("td", { class: "num" }, String(claim.n)), h("td", {}, stateView(claim.state)),
    h("td", { class: "why" }, claim.reason, claim.suite && [" ", h("a", {
      href: address("board", "", { suite: claim.suite }) }, claim.suite)],
      claim.command && h("details", {}, h("summary", {}, "command"), h("div", {}, command(claim.command)))));
  return row;
}

function allowed([low, high], number) {
  if (known(low) && known(high)) return `±${number(high)}`;
  return known(high) ? `below +${number(high)}` : "above 0";
}
