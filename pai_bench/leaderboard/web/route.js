/* ---- one address for each view, so that the browser's own history walks between them ---- */

const VIEWS = {
  board: (name, query) => boardPage(query),
  cell: (name) => cellPage(name),
  method: (name) => methodPage(name),
  methods: methodsPage,
  claims: (name, query) => (name ? claimsPage(name, query) : papersPage()),
};
const root = document.getElementById("view");
const places = new Map();
let last = null;

function route() {
  if (last !== null) places.set(last, scrollY);
  last = location.hash;
  const { view, name, query } = readAddress();
  const make = VIEWS[view] || (() => ({ title: "No such view", content: [h("p", {}, "This page has no such view.")] }));
  const { title, content } = make(name, query);
  const heading = h("h1", { tabindex: -1 }, title);
  root.replaceChildren(heading, ...nodes(content));
  document.title = title === page.title ? title : `${title} – ${page.title}`;
  navigation(view);
  const named = query.claim && document.getElementById(`claim-${query.claim}`);
  if (named) named.scrollIntoView({ block: "center" });
  else scrollTo(0, places.get(last) || 0);
  if (places.size) heading.focus({ preventScroll: true });
}

function navigation(view) {
  const link = (to, text, current) => h("a", { href: address(to), "aria-current": current ? "page" : null }, text);
  document.getElementById("views").replaceChildren(
    link("board", "Leaderboard", view === "board"), link("methods", "Methods", view.startsWith("method")),
    papers.length ? link("claims", "Claims", view === "claims") : "");
}

function start() {
  /* All views share one scroll bar, whose place the browser cannot keep for each. */
  history.scrollRestoration = "manual";
  addEventListener("hashchange", route);
  route();
}

start();
