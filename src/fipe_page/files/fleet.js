// A list of vehicles, pasted or dropped, and what it is worth.
import { changed, go } from "./address.js";
import { months, value } from "./api.js";
import {
  choice,
  copyLink,
  download,
  failure,
  field,
  keyOf,
  notice,
  seriesName,
  title,
  tools,
  vehicleAddress,
} from "./parts.js";

const AT_ONCE = 1000;
const SHOWN = 200;
const LONGEST_LINK = 8000;
/** Characters; some programs cut longer ones. */
const EXAMPLE = "FIP0A01;001528-8;2023\nFIP0A02;001453-2;2018\nFIP0A03;005340-6;2014;diesel";

export async function render(query) {
  const [{ packed, textOf, unpacked, vehiclesOf }, all] = await Promise.all([import("./fleet_list.js"), months()]);
  const given = unpacked(location.hash.slice(1));
  const area = element("textarea", { id: "fleet", rows: 8, spellcheck: false, placeholder: "005340-6;2014;Diesel" });
  area.value = held.hash === location.hash ? held.text : given.map(asLine).join("\n");
  const result = element("div", { id: "result" });
  const options = all.map((each) => [each.month.slice(0, 7), monthName(each.month)]);
  const newest = all.find((each) => each.complete) ?? all[0];
  const month = query.get("month") ?? newest?.month.slice(0, 7) ?? "latest";
  const since = query.get("since") ?? "";

  async function work() {
    const vehicles = vehiclesOf(area.value);
    if (!vehicles.length) return result.replaceChildren(notice(say("fleet_empty")));
    const link = packed(vehicles);
    const short = link.length <= LONGEST_LINK;
    history.replaceState(null, "", location.pathname + location.search + (short ? `#${link}` : ""));
    Object.assign(held, { hash: location.hash, text: area.value });
    try {
      const valued = await valueAll(vehicles, month, since, (done) =>
        result.replaceChildren(notice(say("fleet_busy", { done, all: vehicles.length }))),
      );
      result.replaceChildren(...shown(valued, short));
      result.querySelector("h2").focus();
    } catch (error) {
      result.replaceChildren(failure(error, work));
    }
  }

  async function take(file) {
    if (!file) return;
    area.value = textOf(new Uint8Array(await file.arrayBuffer()));
    await work();
  }

  const file = element("input", { id: "file", type: "file", accept: ".csv,.txt,.tsv,text/csv,text/plain" });
  file.addEventListener("change", () => take(file.files[0]));
  const drop = element(
    "div",
    { className: "drop" },
    element("label", { htmlFor: "fleet", textContent: say("fleet_label") }),
    area,
    field(say("fleet_file"), file),
  );
  drop.dataset.drop = say("fleet_drop");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  const to = (key) => (chosen) => {
    Object.assign(held, { hash: location.hash, text: area.value });
    go(changed({ [key]: chosen }), { replace: true, stay: true });
  };
  const example = () => {
    area.value = EXAMPLE;
    area.focus();
  };
  if (area.value.trim() && (given.length || held.hash === location.hash)) await work();
  return [
    title(say("fleet")),
    element("p", { className: "lead", textContent: say("fleet_lead") }),
    drop,
    element(
      "div",
      { className: "filters" },
      field(say("month"), choice("month", options, month, to("month"))),
      field(say("fleet_since"), choice("since", [["", say("no_month")], ...options], since, to("since"))),
    ),
    tools(
      element("button", {
        type: "button",
        id: "value",
        className: "first",
        textContent: say("value_it"),
        onclick: work,
      }),
      element("button", { type: "button", textContent: say("fleet_example"), onclick: example }),
    ),
    result,
  ];
}

/** The list as it was written, while the address stays: another month or language does not lose it. */
const held = { hash: null, text: "" };

const asLine = ({ code, year, fuel }) => [code, year, fuel].join(";").replace(/;$/, "");

async function valueAll(vehicles, month, since, told) {
  const all = { month: null, month_before: null, rows: [] };
  for (let start = 0; start < vehicles.length; start += AT_ONCE) {
    told(start);
    const part = vehicles.slice(start, start + AT_ONCE);
    const asked = {
      month,
      vehicles: part.map(({ code, year, fuel }) => ({ code: cut(code), year: cut(year), fuel: cut(fuel) })),
    };
    const answer = await value(since ? { ...asked, since } : asked);
    all.month = answer.month;
    all.month_before = answer.month_before;
    all.rows.push(...answer.vehicles.map((row, place) => ({ ...row, label: part[place].label, written: part[place] })));
  }
  return all;
}

const cut = (text) => text.slice(0, 50);
const sum = (rows, of) => rows.reduce((total, row) => total + (of(row) ?? 0), 0);

function shown(valued, short) {
  const { rows } = valued;
  const names = { month: monthName(valued.month) };
  const priced = rows.filter((row) => row.price_brl !== null);
  const both = priced.filter((row) => row.price_before !== null);
  const before = sum(both, (row) => row.price_before);
  const entries = [
    [say("value", names), money(sum(priced, (row) => row.price_brl))],
    [say("priced"), number(priced.length)],
    ...(priced.length < rows.length ? [[say("unpriced"), number(rows.length - priced.length), "bad"]] : []),
    ...(before
      ? [
          [
            say("value_change", { month: monthName(valued.month_before) }),
            percent(100 * (sum(both, (row) => row.price_brl) / before - 1)),
          ],
        ]
      : []),
  ];
  const heading = say("fleet_result", names);
  return [
    element("h2", { tabIndex: -1, textContent: heading }),
    facts(entries),
    cards(wide(say("vehicles"), table(heading, columns(valued), rows.slice(0, SHOWN)))),
    ...(rows.length > SHOWN ? [note(say("fleet_first", { shown: SHOWN, count: rows.length }))] : []),
    tools(
      ...(short ? [copyLink()] : []),
      download("fipe-fleet", fileColumns(valued), () => rows),
    ),
    note(say(short ? "fleet_private" : "fleet_long")),
  ];
}

const nameOf = (row) => (row.brand ? vehicleName(row) : row.written.code);

function remark(row) {
  if (row.note === "other_code") return say("other_code", { code: row.fipe_code });
  if (row.note === "other_fuel") return say("other_fuel", { fuel: row.fuel });
  const parts = [words[language].reasons[row.note] ?? ""];
  if (row.choices) parts.push(say("there_is", { choices: row.choices }));
  if (row.last_month && row.price_brl === null) parts.push(say("seen_until", { month: shortMonth(row.last_month) }));
  return parts.filter(Boolean).join("; ");
}

function columns(valued) {
  const { rows } = valued;
  const labels = rows.some((row) => row.label);
  return [
    ...(labels ? [text(say("label"), (row) => row.label)] : []),
    link(say("vehicle"), nameOf, (row) => row.price_brl !== null && vehicleAddress(row.fipe_code, keyOf(row))),
    text(say("year"), (row) => (row.price_brl === null ? row.written.year : seriesName(row))),
    figure(say("price"), (row) => orNone(row.price_brl, money)),
    ...(valued.month_before
      ? [figure(say("change"), (row) => orNone(row.change_percent, (each) => percent(each)))]
      : []),
    figure(say("of_new"), (row) => orNone(row.percent_of_zero_km, (each) => number(each, 1))),
    ...(rows.some((row) => row.note) ? [text(say("note"), remark)] : []),
  ];
}

const fileColumns = (valued) => [
  [say("label"), (row) => row.label],
  ["FIPE", (row) => row.fipe_code ?? row.written.code],
  [say("brand"), (row) => row.brand],
  [say("model"), (row) => row.model],
  [say("year"), (row) => (row.model_year === null ? row.written.year : yearName(row))],
  [say("fuel"), (row) => row.fuel ?? row.written.fuel],
  [say("month"), () => valued.month.slice(0, 7)],
  [say("price"), (row) => row.price_brl],
  ...(valued.month_before
    ? [
        [say("before"), (row) => row.price_before],
        [say("change"), (row) => row.change_percent],
      ]
    : []),
  [say("of_new"), (row) => row.percent_of_zero_km],
  [say("note"), remark],
];
