"use strict";
// The charts. Their colours are CSS variables, so light, dark and paper need no second drawing.

const COLOURS = { 1: "var(--first)", 2: "var(--second)", 3: "var(--third)" };
const SYMBOLS = { 1: "circle", 2: "square", 3: "triangle" };
const DASHES = { 1: "none", 2: "6 3", 3: "2 3" };
const OLDEST = 25;
/** Years; what is older is counted with it. */
const PAPER = 690;
/** Pixels between the margins of a sheet of A4. */

const drawings = new Map();
let printing = false;

function draw(holder, width) {
  if (width <= 0) return;
  const drawing = drawings.get(holder)(Math.round(width));
  // The holder says what the chart shows.
  drawing.setAttribute("aria-hidden", "true");
  holder.replaceChildren(drawing);
}

const watcher = new ResizeObserver((entries) => {
  if (!printing) entries.forEach((entry) => draw(entry.target, entry.contentRect.width));
});

addEventListener("beforeprint", () => {
  printing = true;
  for (const holder of drawings.keys()) draw(holder, holder.closest(".thirds") ? PAPER / 2 - 32 : PAPER - 32);
});
addEventListener("afterprint", () => {
  printing = false;
  for (const holder of drawings.keys()) draw(holder, holder.clientWidth);
});

function forgetCharts() {
  watcher.disconnect();
  drawings.clear();
}

/** A chart that is drawn anew whenever its width changes; `label` says to those who hear the page what it shows. */
function chart(label, drawing) {
  const holder = element("div", { className: "chart", role: "img", "aria-label": label });
  drawings.set(holder, drawing);
  watcher.observe(holder);
  return holder;
}

function plot(width, options) {
  return Plot.plot({
    width,
    className: "plot",
    style: { fontSize: "12px", fontFamily: "inherit", background: "none", overflow: "visible" },
    ...options,
  });
}

/** What the lines of a chart are: a piece of each and its name. */
function legend(entries) {
  const piece = ({ colour, symbol, dash }) => {
    const drawing = Plot.plot({
      className: "plot",
      width: 28,
      height: 14,
      margin: 0,
      x: { axis: null, domain: [0, 2] },
      y: { axis: null, domain: [0, 2] },
      marks: [
        Plot.line(
          [
            [0, 1],
            [2, 1],
          ],
          { stroke: colour, strokeWidth: 2, strokeDasharray: dash },
        ),
        ...(symbol ? [Plot.dot([[1, 1]], { fill: colour, symbol, r: 4 })] : []),
      ],
    });
    drawing.setAttribute("aria-hidden", "true");
    return drawing;
  };
  return element("p", { className: "legend" }, ...entries.map((each) => element("span", {}, piece(each), each.name)));
}

const pen = document.createElement("canvas").getContext("2d");

/** The pixels that a chart's longest text takes. */
function widest(texts) {
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return Math.max(0, ...texts.map((each) => pen.measureText(each).width));
}

/** Bars from zero to both sides, with their values; `rows` have name, value, text and hint, in their order. */
function bars(rows, colour) {
  const below = rows.filter((row) => row.value < 0);
  const above = rows.filter((row) => row.value >= 0);
  const [low, high] = [below, above].map((side) => Math.max(0, ...side.map((row) => Math.abs(row.value))));
  return (width) => {
    const [names, left, right] = [
      rows.map((row) => row.name),
      below.map((row) => row.text),
      above.map((row) => row.text),
    ].map(widest);
    const margin = Math.min(names + 12, width * 0.6);
    // What the values' texts leave is for the bars.
    const pixel = (low + high || 1) / Math.max(40, width - margin - left - right - 24);
    const domain = [-low - (below.length ? (left + 8) * pixel : 0), high + (above.length ? (right + 8) * pixel : 0)];
    return plot(width, {
      height: rows.length * 22 + 12,
      marginLeft: margin,
      marginRight: 4,
      marginTop: 4,
      marginBottom: 8,
      x: { axis: null, domain },
      y: { label: null, domain: rows.map((row) => row.name), tickSize: 0 },
      marks: [
        Plot.barX(rows, {
          x: "value",
          y: "name",
          fill: colour,
          insetTop: 3,
          insetBottom: 3,
          title: "hint",
          tip: { fill: "var(--card)" },
        }),
        Plot.ruleX([0], { stroke: "var(--soft)" }),
        Plot.text(below, { x: "value", y: "name", text: "text", dx: -5, textAnchor: "end", fill: "var(--ink)" }),
        Plot.text(above, { x: "value", y: "name", text: "text", dx: 5, textAnchor: "start", fill: "var(--ink)" }),
      ],
    });
  };
}

/** Lines with points, perhaps one facet above another; `all` have name, colour, symbol, dash and points of x, y and hint. */
function lines(all, { x, y, height = 280, right = 20, zero = false, format, facets }) {
  const points = all.flatMap((line) => line.points.map((point) => ({ ...point, line: line.name, facet: line.facet })));
  const values = points.map((point) => point.y);
  const extremes = [Math.min(...values), Math.max(...values)].map((value) => format(value));
  const per = (line, what) => ({ x: "x", y: "y", fy: facets ? () => line.facet : undefined, ...what });
  return (width) =>
    plot(width, {
      height,
      marginLeft: widest(extremes) + 20,
      marginRight: facets ? 88 : right,
      marginBottom: 36,
      marginTop: 14,
      x: { label: null, nice: false, ...x(width, points) },
      y: {
        label: null,
        grid: true,
        nice: true,
        zero,
        ticks: facets ? 3 : 6,
        tickFormat: (value) => format(value),
        ...y,
      },
      fy: { label: null, domain: facets },
      marks: [
        ...(zero ? [Plot.ruleY([0], { stroke: "var(--soft)" })] : []),
        ...all.map((line) =>
          Plot.line(line.points, per(line, { stroke: line.colour, strokeWidth: 2, strokeDasharray: line.dash })),
        ),
        ...all.map((line) =>
          line.symbol ? Plot.dot(line.points, per(line, { fill: line.colour, symbol: line.symbol, r: 3 })) : null,
        ),
        Plot.tip(
          points,
          Plot.pointer({ x: "x", y: "y", fy: facets ? "facet" : undefined, title: "hint", fill: "var(--card)" }),
        ),
      ],
    });
}

/** One series of prices among others, which stay pale; the points have x, y, hint and the name of their series. */
function pricesByMonth(own, others) {
  const all = [...own, ...others];
  return (width) =>
    plot(width, {
      height: 340,
      marginLeft: widest(all.map((point) => money(point.y))) + 20,
      marginRight: 44,
      marginBottom: 36,
      marginTop: 14,
      x: { label: null, ...months(width, all) },
      y: { label: null, grid: true, nice: true, zero: true, tickFormat: (price) => money(price) },
      marks: [
        Plot.line(others, { x: "x", y: "y", z: "name", stroke: "var(--pale)", strokeWidth: 1 }),
        Plot.line(own, { x: "x", y: "y", stroke: "var(--first)", strokeWidth: 2.5 }),
        Plot.dot(own.length > 30 ? own.slice(-1) : own, { x: "x", y: "y", fill: "var(--first)", r: 3.5 }),
        Plot.tip(all, Plot.pointer({ x: "x", y: "y", title: "hint", fill: "var(--card)" })),
      ],
    });
}

/** The axis of months, spaced by time, with the last month and those before it that have room. */
const months = (width, points) => {
  const place = (date) => 12 * date.getUTCFullYear() + date.getUTCMonth();
  const all = points.map((point) => place(point.x));
  const [first, last] = [Math.min(...all), Math.max(...all)];
  const step = [1, 2, 3, 6, 12, 24, 60].find((each) => (last - first) / each <= (width - 120) / 90) ?? 120;
  const ticks = [];
  for (let at = last; at >= first; at -= step) ticks.push(new Date(Date.UTC(Math.floor(at / 12), at % 12)));
  const tickFormat = (date) => date.toLocaleDateString(locale(), { month: "short", year: "numeric", timeZone: "UTC" });
  return { type: "utc", ticks, tickFormat };
};

/** The axis of ages, with whole years only. */
const ages = (width, points) => {
  const [youngest, oldest] = [Math.min(...points.map((point) => point.x)), Math.max(...points.map((point) => point.x))];
  const step = [1, 2, 5].find((each) => (oldest - youngest) / each <= width / 40) ?? 10;
  const ticks = [];
  for (let age = youngest; age <= oldest; age += step) ticks.push(age);
  return { ticks, tickFormat: (age) => (age === OLDEST ? say("oldest", { age }) : number(age)) };
};
