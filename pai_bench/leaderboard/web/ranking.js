/* ---- one number per line: what the terminal says under a board ---- */

function rankingView({ ranking }) {
  if (!ranking) return null;
  const count = ranking.densities.length;
  const rows = ranking.lines.map(({ label, rank, area, middle }) => [
    [swatch(looks.get(label)), label], rank.toFixed(2), points(area), points(middle)]);
  return h("section", { class: "ranking", "aria-label": "ranking" }, h("h3", {}, "Ranking"),
    grid("ranking", ["line", "mean rank", "area\u00a0%", "interquartile mean\u00a0%"], rows),
    h("p", { class: "note" }, `Over ${count === 1 ? "the density" : `${count} densities`}, and the seeds, that all lines have: `,
      `${whole(ranking.runs)} networks each. Mean rank: 1 is the highest accuracy of a density and seed. `,
      "Area: mean accuracy over log density. Interquartile mean: of the middle half of the networks."));
}
