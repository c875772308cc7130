/* ---- the rows of a table as CSV, LaTeX and Markdown, in the columns that `pai-bench export` writes ---- */

const FIELDS = {
  method: (row) => row.line, density: densityOf, sparsity: (row) => 1 - row.density, n: (row) => row.n,
  accuracy: (row) => row.mean, low: (row) => row.low, high: (row) => row.high, best_epoch: (row) => row.best_epoch,
  achieved: (row) => row.achieved, effective: (row) => row.effective, collapsed: (row) => row.collapsed,
  by_position: (row) => row.by_position, against: ({ delta }) => delta && delta.against,
  difference: ({ delta }) => delta && delta.mean, difference_low: ({ delta }) => delta && delta.low,
  difference_high: ({ delta }) => delta && delta.high, bits: ({ bits }) => bits && bits.mean,
  bits_low: ({ bits }) => bits && bits.low, bits_high: ({ bits }) => bits && bits.high,
};

/* All digits, and intervals as they were computed: beyond 0 and 1 too. */
function csvText(board, rows) {
  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value);
  const line = (values) => `${values.map((value) => (known(value) ? quoted(String(value)) : "")).join(",")}\n`;
  const read = Object.values(FIELDS);
  return line(["suite", ...Object.keys(FIELDS)]) +
    rows.map((row) => line([board.suite, ...read.map((field) => field(row))])).join("");
}

const HEADINGS = ["method", "density", "sparsity %", "accuracy %", "n", "vs best baseline", "effective"];
const digits = (value, count) => String(Number(value.toPrecision(count)));
const half = ({ mean, high }) => `${(100 * mean).toFixed(2)}${known(high) ? ` ± ${(100 * (high - mean)).toFixed(2)}` : ""}`;

function printedCells(row) {
  return [row.line, digits(row.density, 4), digits(100 * (1 - row.density), 4), known(row.mean) ? half(row) : NONE,
    String(row.n), row.delta && known(row.delta.mean) ? (row.delta.mean < 0 ? "" : "+") + half(row.delta) : "",
    known(row.effective) ? digits(row.effective, 3) : NONE];
}

function markdownText(board, rows) {
  const escaped = (text) => text.replace(/([\\|*_`<>[\]])/g, "\\$1");
  const line = (cells) => `| ${cells.join(" | ")} |\n`;
  return line(HEADINGS) + `|---|${"---:|".repeat(HEADINGS.length - 1)}\n` +
    rows.map((row) => line(printedCells(row).map(escaped))).join("");
}

const LATEX = { "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}",
  "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "–": "--" };

function latexText(board, rows) {
  const escaped = (text) => text.replace(/[\\&%$#_{}~^±–]/g, (c) => LATEX[c]).replace(/^-(?=\d)/, "$$-$$");
  const line = (cells) => `${cells.map(escaped).join(" & ")} \\\\\n`;
  return `% suite ${board.suite}: mean over n seeds of the last epoch's accuracy\n` +
    "% and half of its 95 % t interval; needs \\usepackage{booktabs}\n" +
    `\\begin{tabular}{l${"r".repeat(HEADINGS.length - 1)}}\n\\toprule\n${line(HEADINGS)}\\midrule\n` +
    `${rows.map((row) => line(printedCells(row))).join("")}\\bottomrule\n\\end{tabular}\n`;
}

function tableFiles(board, rowsOf) {
  const kinds = [["CSV", "csv", "text/csv", csvText], ["LaTeX", "tex", "text/x-tex", latexText],
    ["Markdown", "md", "text/markdown", markdownText]];
  return kinds.map(([label, ending, type, make]) =>
    saver(label, () => [`${board.suite}.${ending}`, type, make(board, rowsOf())]));
}
