// Up to five vehicles side by side: their prices in one chart, and how they changed.
import { changed, go } from "./address.js";
import { NoAnswer, history } from "./api.js";
import { changeSince, chosenSeries, firstShared, indexed, monthsBefore, seriesOf } from "./history.js";
import {
  charts,
  choice,
  copyLink,
  download,
  field,
  notice,
  seriesName,
  title,
  tools,
  vehicleAddress,
  widePanel,
} from "./parts.js";
import { searchField } from "./search.js";

const MOST = 5;
const STYLES = [
  { colour: "var(--first)", dash: "none" },
  { colour: "var(--second)", dash: "7 3" },
  { colour: "var(--third)", dash: "2 3" },
  { colour: "var(--fourth)", dash: "9 3 2 3" },
  { colour: "var(--fifth)", dash: "4 2" },
];

export async function render(query) {
  const asked = query.getAll("compare").slice(0, MOST);
  if (!asked.length)
    return [
      title(say("compare_title")),
      element("p", { className: "lead", textContent: say("compare_lead") }),
      adding(asked),
    ];
  const [found] = await Promise.all([Promise.all(asked.map(read)), charts()]);
  const all = found.filter((each) => each.series);
  all.forEach((each, place) =>
    Object.assign(each, STYLES[place], { name: `${vehicleName(each.series)}, ${seriesName(each.series)}` }),
  );
  const unknown = found.filter((each) => !each.series).map((each) => notice(say("unknown_code", each)));
  const shared = all.length ? firstShared(all.map((each) => each.series.points)) : undefined;
  const scale = query.get("scale") === "index" && shared ? "index" : "";
  return [
    title(say("compare_title")),
    ...unknown,
    element("ul", { className: "compared" }, ...all.map((each) => comparedItem(each, all, shared))),
    all.length < MOST ? adding(asked) : element("p", { className: "note", textContent: say("compare_full") }),
    ...(all.length ? [scaleChoice(all, scale, shared), cards(chartCard(all, scale, shared)), files(all)] : []),
  ];
}

async function read(asked) {
  const place = asked.indexOf("_");
  const code = place < 0 ? asked : asked.slice(0, place);
  try {
    const every = seriesOf(await history(code));
    return { code, every, series: chosenSeries(every, asked.slice(place + 1)) };
  } catch (error) {
    if (error instanceof NoAnswer && [404, 422].includes(error.status)) return { code };
    throw error;
  }
}

const written = (each) => `${each.code}_${each.series.key}`;

function adding(asked) {
  const add = (_, code) => go(changed({ compare: [...asked, code], view: "" }));
  return searchField("add", say(asked.length ? "compare_add" : "search"), add);
}

function comparedItem(each, all, shared) {
  const { code, every, series } = each;
  const place = all.indexOf(each);
  const use = (key) =>
    go(changed({ compare: all.map((other) => (other === each ? `${code}_${key}` : written(other))) }), {
      replace: true,
      stay: true,
    });
  const options = every
    .toSorted((a, b) => b.model_year - a.model_year || a.fuel.localeCompare(b.fuel))
    .map((one) => [one.key, seriesName(one)]);
  const remove = () => go(changed({ compare: all.filter((other) => other !== each).map(written), view: "compare" }));
  const { points } = series;
  const last = points.at(-1);
  const change = (month) => orNone(changeSince(points, month), (value) => percent(value));
  return element(
    "li",
    { className: "card" },
    element("h2", {}, element("a", { href: vehicleAddress(code, series.key), textContent: vehicleName(series) })),
    legend([{ ...each, name: code }]),
    field(say("follow"), choice(`series-${place}`, options, series.key, use)),
    facts([
      [say("last_price", { month: shortMonth(last.reference_month) }), money(last.price_brl)],
      [say("in_year"), change(monthsBefore(last.reference_month, 12))],
      ...(shared ? [[say("since_shared", { month: shortMonth(shared) }), change(shared)]] : []),
    ]),
    element("button", {
      type: "button",
      textContent: say("remove_short"),
      "aria-label": say("remove", { vehicle: each.name }),
      onclick: remove,
    }),
  );
}

function scaleChoice(all, scale, shared) {
  if (all.length < 2) return "";
  if (!shared) return notice(say("no_shared_month"));
  const options = [
    ["", say("in_reais")],
    ["index", say("in_percent", { month: monthName(shared) })],
  ];
  const show = (value) => go(changed({ scale: value }), { replace: true, stay: true });
  return element("p", { className: "choice" }, field(say("scale"), choice("scale", options, scale, show)));
}

function chartCard(all, scale, shared) {
  const format = scale ? (value) => number(value) : money;
  const drawn = all.map((each) => {
    const points = scale
      ? indexed(each.series.points, shared).filter((point) => point.reference_month >= shared)
      : each.series.points;
    return {
      ...each,
      points: points.map((point) => {
        const y = scale ? point.index : point.price_brl;
        const at = point.reference_month;
        return { x: dateOf(at), y, at, hint: `${each.name}\n${monthName(at)}: ${scale ? number(y, 1) : money(y)}` };
      }),
    };
  });
  const heading = scale ? say("compare_index", { month: monthName(shared) }) : say("compare_chart");
  const options = { x: months, height: 380, right: 44, zero: !scale, format };
  return widePanel(
    heading,
    legend(drawn),
    chart(`${heading}: ${drawn.map((each) => each.name).join("; ")}`, lines(drawn, options)),
    behind(heading, ...monthTable(drawn, scale ? (value) => number(value, 1) : money)),
  );
}

/** The columns and rows of a table of months, the newest first, with a column per vehicle. */
function monthTable(drawn, format) {
  const values = drawn.map((each) => new Map(each.points.map((point) => [point.at, point.y])));
  const rows = [...new Set(drawn.flatMap((each) => each.points.map((point) => point.at)))].sort().reverse();
  return [
    [
      text(say("in_month"), monthName),
      ...drawn.map((each, place) => figure(each.name, (month) => orNone(values[place].get(month), format))),
    ],
    rows,
  ];
}

function files(all) {
  const values = all.map(
    (each) => new Map(each.series.points.map((point) => [point.reference_month, point.price_brl])),
  );
  const columns = [
    [say("in_month"), (month) => month.slice(0, 7)],
    ...all.map((each, place) => [each.name, (month) => values[place].get(month) ?? null]),
  ];
  const rows = () => [...new Set(values.flatMap((each) => [...each.keys()]))].sort().reverse();
  return tools(copyLink(), download("fipe-compare", columns, rows));
}
