"use strict";
// Words and numbers of the chosen language, and the elements that a page is made of.

const LOCALES = { en: "en-GB", pt: "pt-BR" };
let words;
let language;

/** Speak with these words, by language and key: in the wanted language, or else the first of the reader's that they have. */
function useWords(all, wanted) {
  words = all;
  language =
    [wanted ?? "", ...(navigator.languages ?? [])]
      .map((each) => each.slice(0, 2).toLowerCase())
      .find((each) => each in words) ?? "en";
}

const locale = () => LOCALES[language];

/** The text of a key, with values in its places; of several texts, the one for `values.count`. */
function say(key, values = {}) {
  let text = words[language][key];
  if (typeof text === "object") text = text[new Intl.PluralRules(locale()).select(values.count)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) =>
    typeof values[name] === "number" ? number(values[name]) : values[name],
  );
}

const sentence = (text) => text.charAt(0).toLocaleUpperCase(locale()) + text.slice(1);
const number = (value, digits = 0) =>
  value.toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
const share = (part, whole) => (part / whole).toLocaleString(locale(), { style: "percent" });
const percent = (value, digits = 1) => {
  const format = {
    style: "percent",
    signDisplay: "exceptZero",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  };
  return (value / 100).toLocaleString(locale(), format).replace("-", "−");
};
/** Digits that tell small changes apart. */
const digitsFor = (values) => (Math.max(...values.map(Math.abs)) < 2 ? 2 : 1);
const money = (value) => {
  const format = { style: "currency", currency: "BRL", maximumFractionDigits: 0 };
  return value.toLocaleString(locale(), format).replace("-", "−");
};
const orNone = (value, format) => (value === null || value === undefined ? say("none") : format(value));

const dateOf = (month) => new Date(month.slice(0, 7) + "-01T00:00:00Z");
const inUtc = (month, options) => dateOf(month).toLocaleDateString(locale(), { timeZone: "UTC", ...options });
const monthName = (month) => inUtc(month, { month: "long", year: "numeric" });
const shortMonth = (month) => inUtc(month, { month: "short", year: "numeric" });

/** Two months as "May to June 2026". */
function span(before, month) {
  const sameYear = before.slice(0, 4) === month.slice(0, 4);
  return say("span", {
    before: sameYear ? inUtc(before, { month: "long" }) : monthName(before),
    month: monthName(month),
  });
}

/** Months in their order, by name, or if they are many, as the first to the last. */
function listed(months) {
  if (months.length > 3) return span(months[0], months.at(-1));
  const names = months.map(monthName);
  return names.length < 2 ? names.join("") : say("and", { all: names.slice(0, -1).join(", "), last: names.at(-1) });
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return number(seconds) + " s";
  if (minutes < 60) return minutes + " min " + Math.round(seconds % 60) + " s";
  return Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

const yearName = (row) => (row.zero_km ? say("zero_km") : String(row.model_year));
const vehicleName = (row) => `${row.brand} ${row.model}`;

function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A section of the page; `id` is also the key of its short name in the list of sections. */
function section(id, title, ...children) {
  const heading = element("h2", { id: `${id}-title`, textContent: title });
  return element("section", { id, "aria-labelledby": heading.id }, heading, ...children);
}

function contents(sections) {
  const links = sections.map(({ id }) =>
    element("li", {}, element("a", { href: `#${id}`, textContent: say(`to_${id}`) })),
  );
  return element("nav", { "aria-label": say("contents") }, element("ul", {}, ...links));
}

const card = (title, ...children) =>
  element("div", { className: "card" }, element("h3", { textContent: title }), ...children);
const wide = (title, ...children) =>
  element("div", { className: "card wide" }, element("h3", { textContent: title }), ...children);
const cards = (...children) => element("div", { className: "cards" }, ...children);
const note = (text) => element("p", { className: "note", textContent: sentence(text) });

/** Figures side by side, each of a name, a value and perhaps a class. */
function facts(entries) {
  const shown = ([name, value, className = ""]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value, className }));
  return element("dl", { className: "facts" }, ...entries.map(shown));
}

const text = (name, value) => ({ name, value, className: "" });
const figure = (name, value) => ({ name, value, className: "number" });
/** A column of links; `href` is where a row's leads. */
const link = (name, value, href) => ({ name, value, className: "", href });

/**
 * A table of columns, which `text`, `figure` and `link` make. Where it is too narrow for its columns, each row becomes a
 * list of names and values; the roles keep it a table for those who hear it.
 */
function table(title, columns, rows) {
  const head = columns.map(({ name, className }) =>
    element("th", { textContent: name, className, scope: "col", role: "columnheader" }),
  );
  const cell = (row, { name, value, className, href }, place) => {
    const role = place ? { role: "cell" } : { scope: "row", role: "rowheader" };
    const target = href?.(row);
    const content = target ? element("a", { href: target }) : element("span");
    content.textContent = value(row);
    return element(place ? "td" : "th", { ...role, className, "data-name": name }, content);
  };
  const line = (row) => element("tr", { role: "row" }, ...columns.map((column, place) => cell(row, column, place)));
  return element(
    "table",
    { role: "table", className: columns.length > 3 ? "many" : "", "aria-label": title },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)),
    element("tbody", { role: "rowgroup" }, ...rows.map(line)),
  );
}

/** A table behind a chart, which is made when it is opened. */
function behind(title, columns, rows) {
  const made = element("details", {}, element("summary", { textContent: say("table", { title }) }));
  made.addEventListener("toggle", () => made.querySelector("table") || made.append(table(title, columns, rows)));
  return made;
}
