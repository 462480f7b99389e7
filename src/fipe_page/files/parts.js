// What several views are made of.
import { address } from "./address.js";
import { NoAnswer } from "./api.js";

/** An error in the reader's words, with a button that tries again. */
export function failure(error, again) {
  const known = error instanceof NoAnswer;
  if (!known) console.error(error);
  const said = known && error.status === 0 ? say("unreachable") : say("no_answer", { detail: error.message });
  return element(
    "div",
    { className: "notice", role: "alert" },
    element("p", { textContent: said }),
    element("button", { type: "button", textContent: say("try_again"), onclick: again }),
  );
}

export const notice = (text) => element("p", { className: "notice", textContent: sentence(text) });
export const title = (text) => element("h1", { tabIndex: -1, textContent: text });
/** A card right under the title of the view, whose heading is one below it. */
export const panel = (heading, ...children) =>
  element("div", { className: "card" }, element("h2", { textContent: heading }), ...children);
export const widePanel = (heading, ...children) => {
  const made = panel(heading, ...children);
  made.classList.add("wide");
  return made;
};
export const tools = (...children) => element("p", { className: "tools" }, ...children);

let library;

/** The chart library, which only views with charts load. */
export function charts() {
  library ??= new Promise((done, failed) => {
    const script = element("script", {
      src: new URL("shared/charts.js", import.meta.url),
      onload: done,
      onerror: () => failed(new NoAnswer(0)),
    });
    document.head.append(script);
  });
  library.catch(() => (library = undefined));
  return library;
}

/** A field with its label in front; its name is its key in the address. */
export function field(label, input) {
  return element("label", { className: "field" }, element("span", { textContent: sentence(label) }), input);
}

/** A choice of [value, text] pairs. */
export function choice(id, options, chosen, onchange) {
  const made = element(
    "select",
    { id },
    ...options.map(([value, textContent]) => element("option", { value, textContent, selected: value === chosen })),
  );
  made.addEventListener("change", () => onchange(made.value));
  return made;
}

export function copyLink() {
  const holder = element("span");
  const done = () => (document.getElementById("status").textContent = say("copied"));
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      done();
      button.textContent = say("copied");
    } catch {
      // Without HTTPS there is no clipboard, except on this machine.
      const shown = element("input", { readOnly: true, value: location.href });
      holder.replaceChildren(field(say("copy_this"), shown));
      shown.select();
    }
  };
  const button = element("button", { type: "button", textContent: say("copy_link"), onclick: copy });
  holder.append(button);
  return holder;
}

/** A button that hands out rows as a CSV file, as spreadsheets of the chosen language read it. */
export function download(name, columns, rows) {
  const make = async () => {
    const { default: Papa } = await import("./libraries/csv.js");
    const comma = language === "pt";
    const cell = (value) => (typeof value === "number" && comma ? String(value).replace(".", ",") : (value ?? ""));
    const data = rows().map((row) => columns.map(([, value]) => cell(value(row))));
    const text = Papa.unparse(
      { fields: columns.map(([heading]) => heading), data },
      { delimiter: comma ? ";" : ",", escapeFormulae: true },
    );
    // The mark at the start tells Excel that it is UTF-8.
    const url = URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" }));
    element("a", { href: url, download: `${name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  };
  return element("button", { type: "button", textContent: say("download"), onclick: make });
}

export const seriesName = (row) => `${yearName(row)} ${row.fuel}`;
export const keyOf = (row) => `${row.zero_km ? "0km" : row.model_year}-${row.fuel}`;
export const vehicleAddress = (code, series) => address({ vehicle: code, series });

/** The columns of vehicles that moved. */
export const moverColumns = () => [
  link(
    say("vehicle"),
    (row) => `${vehicleName(row)}, ${seriesName(row)}`,
    (row) => vehicleAddress(row.fipe_code, keyOf(row)),
  ),
  figure(say("price"), (row) => money(row.price_brl)),
  figure(say("change"), (row) => percent(row.change_percent)),
];
