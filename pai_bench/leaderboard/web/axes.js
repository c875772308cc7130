/* ---- what stands on the axes of a board's chart: where a row is, its range, how it is drawn and read ---- */

const densityOf = (row) => row.density;
const near = (a, b) => Math.abs(a - b) <= 1e-3 * b;

/* On y: the error on a log axis, which sets apart what is close to perfect, or the accuracy. */
const ERROR = {
  name: "error", log: true, limits: () => [0, 1], of: ({ mean, low, high }) => ({ y: rest(mean), low: rest(high), high: rest(low) }),
  label: (images) => `${images} error after the last epoch, %, log scale, less is better`,
};
const ACCURACY = {
  name: "accuracy", log: false, limits: (means, all) => [all ? 0 : floorOf(means), 1],
  of: ({ mean, low, high }) => ({ y: mean, low, high }),
  label: (images) => `${images} accuracy after the last epoch, %`,
};
const rest = (value) => (known(value) ? 1 - value : null);

/* One collapsed line flattens all others: the axis ends a little below the best of each density. */
function floorOf(means) {
  const found = means.filter(Number.isFinite);
  const [least, most] = [Math.min(...found), Math.max(...found)];
  return found.length ? Math.max(0, least - 0.3 * (most - least) - 0.005) : 0;
}

function byDensity(board) {
  const densities = densitiesOf(board);
  const [first, last] = [densities[0] || 1, densities[densities.length - 1] || 0.1];
  const span = Math.log(first / last) || 1;
  return {
    of: densityOf, ends: [first, last], stops: new Set(densities),
    map: (x) => (densities.length > 1 ? Math.log(first / x) / span : 0.5),
    ticks: densities.map((density) => ({ x: density, label: share(density), below: sparsityOf(density) })),
    name: "density", label: "density (below: sparsity), log scale, sparser →",
    title: (x) => `density ${share(x)}, sparsity ${sparsityOf(x)}`,
  };
}

function byCost(board) {
  const costs = board.rows.map((row) => row.training).filter((x) => x > 0);
  const [least, most] = [Math.min(...costs), Math.max(...costs)];
  const span = Math.log(most / least);
  const decades = [...Array(40).keys()].flatMap((power) => [1, 2, 5].map((factor) => factor * 10 ** power));
  const sparse = new Set(board.rows.filter((row) => row.kind !== "reference").map((row) => row.training));
  return {
    of: (row) => row.training, ends: [least, most], stops: sparse,
    map: (x) => (span ? Math.log(x / least) / span : 0.5),
    ticks: decades.filter((x) => x >= least && x <= most).map((x) => ({ x, label: short(x).replace(/\.0+ /, " ") })),
    name: "training FLOPs", label: "training FLOPs, scoring included, log scale, dearer →",
    title: (x) => `${short(x)} training FLOPs`,
  };
}
