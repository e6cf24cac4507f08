// The plots: one row of numbers every two seconds, drawn as SVG, with one moment that all of them show.
"use strict";

const $ = (id) => document.getElementById(id);

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

const counted = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

const number = (value) => (value >= 10_000 ? compact.format(value) : value >= 100 ? counted.format(value) : exact.format(value));
const bytes = (value) => {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (value < 1024) return `${exact.format(value)} ${unit}`;
    value /= 1024;
  }
  return `${exact.format(value)} GiB`;
};
const millis = (value) => (value === null ? "–" : value < 1000 ? `${exact.format(value)} ms` : `${exact.format(value / 1000)} s`);
// How long something lasted, in its two largest units.
const lasted = (seconds) => {
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([length]) => seconds >= length);
  if (first < 0) return "0 s";
  const [length, unit] = parts[first];
  const rest = parts[first + 1];
  const more = rest ? Math.floor((seconds % length) / rest[0]) : 0;
  return `${Math.floor(seconds / length)} ${unit}${more ? ` ${more} ${rest[1]}` : ""}`;
};

const SPAN = 900;
const HEIGHT = 96;
// Where the times below a plot stand, in seconds before now.
const TIMES = [[900, "15 min"], [600, "10 min"], [300, "5 min"], [0, "now"]];
// Rows further apart than so many seconds are not joined: nothing is known of what was between them.
const APART = 10;

const PLOTS = [
  { title: "Streams", form: number, series: [["streams", "open"], ["connections", "connections", "quiet"]] },
  { title: "Requests", form: number, series: [["requests", "a second"], ["errors", "with 5xx", "bad"]] },
  { title: "Deliveries", form: number, series: [["deliveries", "a second"], ["publications", "published", "quiet"]] },
  { title: "Request time", form: millis, series: [["request_p50", "p50"], ["request_p99", "p99", "quiet"]] },
  { title: "Delivery time", form: millis, series: [["delivery_p50", "p50"], ["delivery_p99", "p99", "quiet"]] },
  { title: "Evictions", form: number, stems: true, series: [["evictions", "evicted", "bad"], ["resets", "resets", "quiet"]] },
];

const SVG = "http://www.w3.org/2000/svg";

function drawn(name, className, parent) {
  const made = document.createElementNS(SVG, name);
  made.setAttribute("class", className);
  parent.append(made);
  return made;
}

function set(drawing, attributes) {
  for (const [name, value] of Object.entries(attributes)) drawing.setAttribute(name, value);
}

// The least round number that is not below a value.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map((step) => step * power).find((top) => top >= value * 0.999);
}

class Plot {
  constructor({ title, form, stems = false, series }, past) {
    Object.assign(this, { title, form, stems, past });
    const card = element("article", "", "plot");
    const head = card.appendChild(element("header"));
    head.append(element("h3", title));
    const values = head.appendChild(element("p", "", "values"));
    this.canvas = drawn("svg", "canvas", card);
    this.canvas.setAttribute("aria-hidden", "true");
    this.lines = [1, 0.5, 0].map(() => drawn("line", "grid", this.canvas));
    this.series = series.map(([column, label, kind = "main"]) => {
      const value = values.appendChild(element("span", "", `value ${kind}`));
      const shown = value.appendChild(element("b", "–"));
      value.append(` ${label}`);
      return { column, shown, kind };
    });
    // What matters most is drawn last, over the rest.
    for (const one of [...this.series].reverse()) {
      one.area = one.kind === "main" && !stems ? drawn("path", "area", this.canvas) : undefined;
      one.path = drawn("path", `path ${one.kind}`, this.canvas);
    }
    this.top = drawn("text", "label", this.canvas);
    this.times = TIMES.map(([, text]) => {
      const made = drawn("text", "label", this.canvas);
      made.textContent = text;
      return made;
    });
    this.cursor = drawn("line", "cursor", this.canvas);
    this.dots = this.series.map(({ kind }) => drawn("circle", `dot ${kind}`, this.canvas));
    $("plots").append(card);
    this.canvas.addEventListener("pointermove", (event) => {
      const { left, width } = this.canvas.getBoundingClientRect();
      past.look(SPAN * Math.min(1, Math.max(0, (event.clientX - left) / width)));
    });
    this.canvas.addEventListener("pointerleave", () => past.look(SPAN));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  draw() {
    const { past, series, canvas } = this;
    const width = canvas.clientWidth;
    if (!width) return;
    set(canvas, { viewBox: `0 0 ${width} ${HEIGHT}` });
    const columns = series.map(({ column }) => past.columns.indexOf(column));
    const highest = Math.max(0, ...past.rows.flatMap((row) => columns.map((column) => row[column] ?? 0)));
    const top = round(Math.max(highest, this.form === millis ? 0.1 : 1));
    const x = (row) => (1 - (past.end - row[0]) / SPAN) * width;
    const y = (value) => HEIGHT - 1 - (value / top) * (HEIGHT - 18);
    this.lines.forEach((line, place) => {
      const at = y(top * (1 - place / 2));
      set(line, { x1: 0, x2: width, y1: at, y2: at });
    });
    this.times.forEach((time, place) => {
      const share = 1 - TIMES[place][0] / SPAN;
      set(time, { x: share * width, y: HEIGHT + 13, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" });
    });
    this.top.textContent = this.form(top);
    set(this.top, { y: y(top) - 5 });
    series.forEach((one, place) => {
      // What is bad is seen where it happened, and no line is drawn where it did not.
      const { line, area } = this.stems || one.kind === "bad"
        ? { line: stems(past.rows, columns[place], x, y), area: "" }
        : joined(past.rows, columns[place], x, y);
      one.path.setAttribute("d", line);
      one.area?.setAttribute("d", area);
    });
    this.look({ x, y, columns });
  }

  // Shows the values of the moment that is looked at.
  look({ x, y, columns }) {
    const { past, series } = this;
    const row = past.seen();
    const isNow = past.isNow();
    series.forEach((one, place) => {
      const column = columns[place];
      const value = row?.[column];
      const shown = this.stems && isNow ? past.rows.reduce((sum, row) => sum + row[column], 0) : value;
      one.shown.textContent = shown === undefined || shown === null ? "–" : this.form(shown);
      const isThere = !isNow && typeof value === "number";
      this.dots[place].toggleAttribute("hidden", !isThere);
      if (isThere) set(this.dots[place], { cx: x(row), cy: y(value), r: 3 });
    });
    this.cursor.toggleAttribute("hidden", isNow || !row);
    if (!isNow && row) set(this.cursor, { x1: x(row), x2: x(row), y1: 14, y2: HEIGHT });
  }
}

// A line through the values, broken where there is none, and the area below it.
function joined(rows, column, x, y) {
  let line = "";
  let area = "";
  let last;
  const close = () => {
    if (last) area += `L${x(last).toFixed(1)} ${y(0)}Z`;
    last = undefined;
  };
  for (const row of rows) {
    if (row[column] === null || (last && row[0] - last[0] > APART)) close();
    if (row[column] === null) continue;
    const place = `${x(row).toFixed(1)} ${y(row[column]).toFixed(1)}`;
    if (!last) area += `M${x(row).toFixed(1)} ${y(0)}`;
    // One that stands alone is a point.
    line += last ? `L${place}` : `M${place}h0.01`;
    area += `L${place}`;
    last = row;
  }
  close();
  return { line, area };
}

function stems(rows, column, x, y) {
  return rows
    .filter((row) => row[column] > 0)
    // However little it is, it is to be seen.
    .map((row) => `M${x(row).toFixed(1)} ${y(0)}V${Math.min(y(0) - 4, y(row[column])).toFixed(1)}`)
    .join("");
}

// The rows of the last quarter of an hour, and the moment that is looked at.
class Past {
  constructor() {
    this.columns = [];
    this.rows = [];
    this.end = 0;
    this.at = SPAN;
    this.plots = PLOTS.map((plot) => new Plot(plot, this));
    $("moment").addEventListener("input", () => this.look(Number($("moment").value)));
  }

  begin(columns, rows) {
    this.columns = columns;
    this.rows = [];
    this.add(rows);
  }

  add(rows) {
    this.rows.push(...rows);
    this.end = this.rows.at(-1)?.[0] ?? 0;
    const first = this.rows.findIndex((row) => row[0] > this.end - SPAN);
    this.rows.splice(0, Math.max(0, first));
    this.draw();
  }

  look(at) {
    this.at = at;
    $("moment").value = at;
    this.draw();
  }

  isNow() {
    return this.at >= SPAN;
  }

  // The row nearest to the moment.
  seen() {
    if (this.isNow()) return this.rows.at(-1);
    const at = this.end - SPAN + this.at;
    return this.rows.reduce(
      (best, row) => (best && Math.abs(best[0] - at) <= Math.abs(row[0] - at) ? best : row),
      undefined,
    );
  }

  draw() {
    const row = this.seen();
    const said = this.isNow() || !row ? "now" : `${lasted(this.end - row[0])} ago`;
    if ($("shown").textContent !== said) {
      $("shown").textContent = said;
      $("moment").setAttribute("aria-valuetext", said);
    }
    for (const plot of this.plots) plot.draw();
  }
}
