/* ---- elements: strings become text nodes, so nothing in the data is ever read as markup ---- */

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== null && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
/* What is left of a list with conditions in it. */
const nodes = (list) => list.flat(Infinity).filter((node) => node instanceof Node);

/* What may be wider than the page: it scrolls by itself, and says so where there is more to the right. */
function scrolling(label, ...content) {
  const inner = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, ...content);
  const hint = h("p", { class: "note hint", "aria-hidden": "true", hidden: true }, "scroll sideways for more columns →");
  const look = () => { hint.hidden = inner.scrollWidth - inner.clientWidth - inner.scrollLeft < 8; };
  const watch = new ResizeObserver(look);
  [inner, ...inner.children].forEach((node) => watch.observe(node));
  inner.addEventListener("scroll", look, { passive: true });
  return h("div", { class: "sheet" }, hint, inner);
}
