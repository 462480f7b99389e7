"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
const words = read("words");
const TYPES = [1, 2, 3];
let language = (data.language || navigator.language || "en").startsWith("pt") ? "pt" : "en";
let charts = [];

const say = (key) => words[language][key];
const locale = () => (language === "pt" ? "pt-BR" : "en-GB");
const number = (value, digits = 0) =>
  value.toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
const money = (value) => value.toLocaleString(locale(), { style: "currency", currency: "BRL", maximumFractionDigits: 0 });
const percent = (value) => (value > 0 ? "+" : "") + number(value, 2) + " %";
const monthName = (text) =>
  new Date(text.slice(0, 7) + "-02T00:00:00").toLocaleDateString(locale(), { month: "long", year: "numeric" });
const yearName = (row) => (row.zero_km ? say("zero_km") : String(row.model_year));
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return Math.round(seconds) + " s";
  if (minutes < 60) return minutes + " min " + Math.round(seconds % 60) + " s";
  return Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) made[name] = value;
  made.append(...children);
  return made;
}

const section = (title, ...children) => element("section", {}, element("h2", { textContent: title }), ...children);
const card = (title, ...children) => element("div", { className: "card" }, element("h3", { textContent: title }), ...children);
const cards = (...children) => element("div", { className: "cards" }, ...children);
const note = (text) => element("p", { className: "note", textContent: text });

function facts(entries) {
  return element(
    "dl",
    { className: "facts" },
    ...entries.map(([name, value, className = ""]) =>
      element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value, className })),
    ),
  );
}

function table(columns, rows) {
  const head = columns.map(([name, , kind = ""]) => element("th", { textContent: name, className: kind }));
  const body = rows.map((row) =>
    element("tr", {}, ...columns.map(([, value, kind = ""]) => element("td", { textContent: value(row), className: kind }))),
  );
  return element(
    "div",
    { className: "scroll" },
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)),
  );
}

function chart(configuration, height) {
  const canvas = element("canvas");
  const holder = element("div", { className: "chart" }, canvas);
  if (height) holder.style.height = height;
  // A chart measures its element, so the page must hold the element before the chart is drawn.
  queueMicrotask(() => charts.push(new Chart(canvas, configuration)));
  return holder;
}

const axis = (title, more = {}) => ({
  title: { display: Boolean(title), text: title, color: colour("soft") },
  grid: { color: colour("line") },
  ticks: { color: colour("soft"), ...more.ticks },
  ...Object.fromEntries(Object.entries(more).filter(([key]) => key !== "ticks")),
});

function lines(datasets, x, y, options = {}) {
  return {
    type: "line",
    data: { labels: options.labels, datasets },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      interaction: { mode: options.labels ? "index" : "nearest", intersect: false },
      scales: { x, y },
      plugins: {
        legend: { display: datasets.length > 1, labels: { color: colour("ink"), usePointStyle: true, boxHeight: 6 } },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${options.format(item.parsed.y)}` } },
      },
    },
  };
}

const MARKS = { loading: "…", complete: "✓", incomplete: "✗", cancelled: "✗" };
const CLASSES = { loading: "", complete: "good", incomplete: "bad", cancelled: "bad" };

// The ledger's word for all months together: the one that is furthest from complete.
const stateOf = (load) =>
  ["cancelled", "loading", "incomplete"].find((state) => load.months.some((month) => month.state === state)) || "complete";

function loadSection(load) {
  const sum = (name) => load.months.reduce((total, month) => total + month[name], 0);
  const began = Math.min(...load.months.map((month) => Date.parse(month.started_at)));
  const ended = Math.max(...load.months.map((month) => Date.parse(month.last_write_at)));
  const seconds = (ended - began) / 1000;
  const state = stateOf(load);
  const unit = seconds < 180 ? ["seconds", 1] : seconds < 10800 ? ["minutes", 60] : ["hours", 3600];
  const arrivals = load.arrivals.map((point) => ({ x: point.seconds / unit[1], y: point.prices }));
  return section(
    say("load"),
    facts([
      [say("months"), load.months.map((month) => month.reference_month.slice(0, 7)).join(", ")],
      [say("duration"), duration(seconds)],
      [say("prices"), number(sum("prices"))],
      [say("rate"), seconds > 0 ? number((sum("prices") / seconds) * 60) : "–"],
      [say("models"), `${number(sum("models_received"))} / ${number(sum("models_expected"))}`],
      [say("brands"), `${number(sum("brands_complete"))} / ${number(sum("brands_expected"))}`],
      [say("unpriced"), number(sum("unpriced"))],
      [say("rejected"), number(sum("rejected"))],
      [say("price_calls"), number(sum("prices") + sum("unpriced") + sum("rejected"))],
      [say("throttled"), load.throttled === null ? say("unknown") : number(load.throttled)],
      [say("run"), load.run_id, "small"],
      [say(state), MARKS[state], CLASSES[state]],
    ]),
    cards(
      card(
        say("arrivals"),
        chart(
          lines(
            [{ label: say("prices"), data: arrivals, borderColor: colour("accent"), borderWidth: 2, pointRadius: 0 }],
            axis(say(unit[0]), { type: "linear", ticks: { callback: (value) => number(value, value % 1 ? 1 : 0) } }),
            axis("", { beginAtZero: true, ticks: { callback: (value) => number(value) } }),
            { format: number },
          ),
        ),
        note(say("arrivals_note")),
      ),
      card(
        say("largest"),
        chart({
          type: "bar",
          data: {
            labels: load.brands.map((brand) => `${brand.brand} (${say(brand.vehicle_type)})`),
            datasets: [
              { label: say("received"), data: load.brands.map((brand) => brand.received), backgroundColor: colour("accent") },
              {
                label: say("missing"),
                data: load.brands.map((brand) => brand.expected - brand.received),
                backgroundColor: colour("bad"),
              },
            ],
          },
          options: {
            indexAxis: "y",
            responsive: true,
            maintainAspectRatio: false,
            animation: false,
            scales: {
              x: axis("", { stacked: true, ticks: { callback: (value) => number(value) } }),
              y: axis("", { stacked: true, ticks: { autoSkip: false }, grid: { display: false } }),
            },
            plugins: { legend: { labels: { color: colour("ink") } } },
          },
        }, "24rem"),
      ),
      card(
        say("incomplete_brands"),
        load.incomplete.length
          ? table(
              [
                [say("months"), (row) => row.month],
                [say("type"), (row) => say(row.vehicle_type)],
                [say("brand"), (row) => row.brand],
                [say("models"), (row) => `${number(row.models_received)} / ${row.models_expected === null ? "–" : number(row.models_expected)}`, "number"],
                [say("rejected"), (row) => number(row.rejected), "number"],
              ],
              load.incomplete,
            )
          : note(say("all_complete")),
      ),
    ),
  );
}

function movers(rows) {
  return table(
    [
      [say("model"), (row) => `${row.brand} ${row.model}`],
      [say("year"), yearName],
      [monthName(rows[0].month_before), (row) => money(row.price_before), "number"],
      [monthName(rows[0].reference_month), (row) => money(row.price_brl), "number"],
      [say("change"), (row) => percent(row.change_percent), "number"],
    ],
    rows,
  );
}

function monthSection(month) {
  const shown = TYPES.filter((type) => month.depreciation.some((row) => row.vehicle_type === type));
  const hues = { 1: colour("accent"), 2: colour("second"), 3: colour("third") };
  const curves = shown.map((type) => ({
    label: say(type),
    data: month.depreciation.filter((row) => row.vehicle_type === type).map((row) => ({ x: row.age, y: row.percent })),
    borderColor: hues[type],
    backgroundColor: hues[type],
    borderWidth: 2,
    pointRadius: 2,
  }));
  const rises = month.movers.filter((row) => row.change_percent > 0);
  const falls = month.movers.filter((row) => row.change_percent < 0).reverse();
  return section(
    `${say("month")}: ${monthName(month.month)}`,
    cards(
      card(
        say("by_type"),
        table(
          [
            [say("type"), (row) => say(row.vehicle_type)],
            [say("brands"), (row) => number(row.brands), "number"],
            [say("models"), (row) => number(row.models), "number"],
            [say("prices"), (row) => number(row.prices), "number"],
            [say("zero_km"), (row) => number(row.zero_km), "number"],
            [say("median"), (row) => money(row.median), "number"],
          ],
          month.types,
        ),
      ),
      card(
        say("depreciation"),
        chart(
          lines(curves, axis(say("age"), { type: "linear", ticks: { stepSize: 1, maxTicksLimit: 13 } }), axis(say("percent_of_new"), { beginAtZero: true }), {
            format: (value) => number(value, 1) + " %",
          }),
        ),
        note(say("depreciation_note")),
      ),
      card(say("rises"), rises.length ? movers(rises) : note(say("no_movers"))),
      card(say("falls"), falls.length ? movers(falls) : note(say("no_movers"))),
    ),
  );
}

function pricesByYear(rows) {
  return {
    type: "bar",
    data: {
      labels: rows.map((row) => `${yearName(row)} ${row.fuel}`),
      datasets: [{ label: say("price"), data: rows.map((row) => row.price), backgroundColor: colour("accent") }],
    },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      scales: { x: axis(""), y: axis("", { beginAtZero: true, ticks: { callback: (value) => money(value) } }) },
      plugins: { legend: { display: false }, tooltip: { callbacks: { label: (item) => money(item.parsed.y) } } },
    },
  };
}

function vehicleSection(vehicle) {
  const months = [...new Set(vehicle.history.map((row) => row.month))].sort();
  const series = new Map();
  for (const row of vehicle.history) {
    const name = `${yearName(row)} ${row.fuel}`;
    if (!series.has(name)) series.set(name, new Map());
    series.get(name).set(row.month, row.price);
  }
  const names = [...series.keys()];
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const hue = (index) => `hsl(${210 + (150 * index) / Math.max(1, names.length - 1)} 65% ${dark ? 65 : 42}%)`;
  const datasets = names.map((name, index) => ({
    label: name,
    data: months.map((month) => series.get(name).get(month) ?? null),
    borderColor: hue(index),
    backgroundColor: hue(index),
    borderWidth: 2,
    pointRadius: months.length > 24 ? 0 : 3,
  }));
  return section(
    `${say("vehicle")}: ${vehicle.brand} ${vehicle.model}`,
    note(`${say("code")} ${vehicle.fipe_code}`),
    cards(
      card(
        say("history"),
        months.length > 1
          ? chart(
              lines(datasets, axis(""), axis("", { ticks: { callback: (value) => money(value) } }), {
                labels: months,
                format: money,
              }),
              "26rem",
            )
          : element("div", {}, chart(pricesByYear(vehicle.by_age), "24rem"), note(say("history_one"))),
      ),
      card(
        say("by_age"),
        table(
          [
            [say("year"), yearName],
            [say("fuel"), (row) => row.fuel],
            [say("age"), (row) => number(row.age), "number"],
            [say("price"), (row) => money(row.price), "number"],
            [say("percent"), (row) => (row.percent === null ? "–" : number(row.percent, 1)), "number"],
          ],
          vehicle.by_age,
        ),
      ),
    ),
  );
}

function draw() {
  charts.forEach((one) => one.destroy());
  charts = [];
  Chart.defaults.font.family = "system-ui, sans-serif";
  document.documentElement.lang = language === "pt" ? "pt-BR" : "en";
  document.title = `FIPE ${monthName(data.month.month)}`;
  document.getElementById("title-month").textContent = monthName(data.month.month);
  if (data.load) {
    const word = stateOf(data.load);
    const state = document.getElementById("load-state");
    state.textContent = `${MARKS[word]} ${say("load_" + word)}`;
    state.className = CLASSES[word];
  }
  document.querySelectorAll("[data-language]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  });
  document
    .getElementById("report")
    .replaceChildren(monthSection(data.month), vehicleSection(data.vehicle), ...(data.load ? [loadSection(data.load)] : []));
  document.getElementById("foot").textContent = say("foot")
    .replace("{place}", data.place)
    .replace("{made_at}", new Date(data.made_at).toLocaleString(locale()));
}

document.querySelectorAll("[data-language]").forEach((button) => {
  button.addEventListener("click", () => {
    language = button.dataset.language;
    draw();
  });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
