/* ---- numbers ---- */

const NONE = "–";
const known = (value) => value !== null && value !== undefined;
const minus = (text) => text.replace("-", "\u2212");
const points = (value) => (known(value) ? minus((100 * value).toFixed(2)) : NONE);
const signed = (value) => (value >= 0 ? "+" : "") + points(value);
/* Four digits on the side of the density that is small: 99.98 % must not become 100 %. */
const share = (value) => (known(value) ? `${Number((100 * value).toPrecision(4))}%` : NONE);
const sparsityOf = (density) => `${Number((100 * (1 - density)).toFixed(Math.max(0, digitsOf(100 * density))))}%`;
const digitsOf = (value) => (value > 0 ? Math.min(8, 3 - Math.floor(Math.log10(value))) : 0);
const whole = (value) => (known(value) ? Number(value).toLocaleString("en") : NONE);
const interval = (low, high) => (known(low) && known(high) ? `[${points(low)}, ${points(high)}]` : NONE);
/* A t interval knows no bounds; what is shown of an accuracy's or an error's ends where they do. Files have the whole. */
const possible = (low, high) => interval(known(low) ? Math.max(0, low) : low, known(high) ? Math.min(1, high) : high);
const times = (value) => (known(value) ? `${Number(Number(value).toPrecision(3))}×` : NONE);

function short(value) {
  if (!known(value)) return NONE;
  for (const [size, unit] of [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  return String(Number(Number(value).toPrecision(3)));
}

