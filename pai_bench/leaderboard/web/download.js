/* ---- what is shown, as files: made here, from what the page holds ---- */

function save(name, type, text) {
  const link = h("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const saver = (label, make) => h("button", { type: "button", class: "option", title: `save as ${label}`,
  click: () => save(...make()) }, `↓ ${label}`);

/* The light colours, whichever are shown: files go into papers, on white paper. */
function lightColours() {
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  return rules.find((rule) => rule.selectorText === ":root").style;
}

/* A plot that stands alone: colours are written out, bands that are not shown are left out. */
function svgText(picture) {
  const style = lightColours();
  const copy = picture.cloneNode(true);
  copy.querySelectorAll(".band:not(.on)").forEach((band) => band.remove());
  const [, , width, height] = copy.getAttribute("viewBox").split(" ");
  fill(copy, { width, height }, []);
  copy.prepend(svg("style", {}, SVG_STYLE), svg("rect", { width, height, fill: "var(--page)" }));
  const text = new XMLSerializer().serializeToString(copy);
  return text.replace(/var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name).trim());
}

const SVG_STYLE = "text { font: 12px sans-serif; fill: var(--ink) } .minor { fill: var(--soft) } .minor, .end text { font-size: 11px } " +
  ".end text { paint-order: stroke; stroke: var(--page); stroke-width: 3px } .grid { stroke: var(--rule) } .axis { stroke: var(--heavy) }";

/* BibTeX with a button; where the browser keeps its clipboard shut, the text is selected. */
function citation(text) {
  const said = h("output", { class: "note", "aria-live": "polite" });
  const source = h("pre", { class: "scroll", tabindex: 0 }, text);
  const select = () => { getSelection().selectAllChildren(source); said.textContent = "selected, to be copied by you"; };
  const copy = async () => {
    try { await navigator.clipboard.writeText(text); said.textContent = "copied"; } catch { select(); }
  };
  return h("div", {}, source, h("p", {}, h("button", { type: "button", class: "option", click: copy }, "copy BibTeX"), " ", said));
}
