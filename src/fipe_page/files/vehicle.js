// A vehicle: its prices through time, what it was called, and what remains of it with age.
import { address, changed, go, wanted } from "./address.js";
import { NoAnswer, depreciation, history } from "./api.js";
import { changeSince, chosenSeries, monthsBefore, rowsOf, seriesOf } from "./history.js";
import { charts, choice, copyLink, download, field, notice, seriesName, title, tools, widePanel } from "./parts.js";

export async function render(query) {
  const code = query.get("vehicle");
  let histories, aged;
  try {
    [histories, aged] = await Promise.all([history(code), depreciation(code), charts()]);
  } catch (error) {
    if (!(error instanceof NoAnswer) || ![404, 422].includes(error.status)) throw error;
    return [title(say("code", { code })), notice(say("unknown_code", { code }))];
  }
  const series = seriesOf(histories);
  const chosen = chosenSeries(series, query.get("series"));
  return [
    title(vehicleName(chosen)),
    element("p", { className: "under", textContent: say("code", { code }) }),
    picker(series, chosen),
    figures(chosen, aged.month),
    tools(
      element("a", { className: "button", href: compared(code, chosen), textContent: say("to_compare") }),
      copyLink(),
      download(`fipe-${code}`, fileColumns(), () => rowsOf(series)),
    ),
    cards(historyCard(series, chosen), ...namesCard(chosen), ...ageCard(aged)),
  ];
}

const compared = (code, chosen) => address({ compare: `${code}_${chosen.key}` });

function picker(series, chosen) {
  const options = series
    .toSorted((a, b) => b.model_year - a.model_year || a.fuel.localeCompare(b.fuel))
    .map((each) => [each.key, seriesName(each)]);
  const show = (key) => go(changed({ series: key }), { replace: true, stay: true });
  return element("p", { className: "choice" }, field(say("follow"), choice("series", options, chosen.key, show)));
}

function figures(chosen, newest) {
  const { points } = chosen;
  const [first, last] = [points[0], points.at(-1)];
  const entries = [[say("last_price", { month: monthName(last.reference_month) }), money(last.price_brl)]];
  for (const months of [1, 12, 60]) {
    const month = monthsBefore(last.reference_month, months);
    const change = changeSince(points, month);
    if (change !== null) entries.push([say("since", { month: monthName(month) }), percent(change)]);
  }
  if (first !== last && first.price_brl)
    entries.push([
      say("since_first", { month: monthName(first.reference_month) }),
      percent(changeSince(points, first.reference_month)),
    ]);
  const names = { month: monthName(newest), last: monthName(last.reference_month) };
  const gone = last.reference_month < newest ? [notice(say("not_in_month", names))] : [];
  return element("div", {}, ...gone, facts(entries));
}

function historyCard(series, chosen) {
  const pointsOf = (each) =>
    each.points.map(({ reference_month: at, price_brl: y }) => ({
      x: dateOf(at),
      y,
      at,
      name: seriesName(each),
      hint: `${seriesName(each)}, ${monthName(at)}\n${money(y)}`,
    }));
  const own = pointsOf(chosen);
  const others = series.filter((each) => each !== chosen).flatMap(pointsOf);
  const values = { which: seriesName(chosen), first: monthName(own[0].at), last: monthName(own.at(-1).at) };
  const label = say("history_of", values);
  const columns = [
    text(say("in_month"), (point) => monthName(point.at)),
    figure(say("price"), (point) => money(point.y)),
  ];
  const line = { name: seriesName(chosen), colour: "var(--first)", dash: "none" };
  const rest = others.length ? [{ name: say("others"), colour: "var(--pale)", dash: "none" }] : [];
  return widePanel(
    own.length > 1 ? say("history", values) : say("history_one", { month: values.last }),
    legend([line, ...rest]),
    chart(label, pricesByMonth(own, others)),
    behind(label, columns, own.toReversed()),
  );
}

function namesCard({ published }) {
  if (published.length < 2) return [];
  const columns = [
    text(say("from"), (row) => shortMonth(row.first_month)),
    text(say("until"), (row) => shortMonth(row.last_month)),
    text(say("vehicle"), vehicleName),
    text(say("fuel"), (row) => row.fuel),
  ];
  return [widePanel(say("names"), note(say("names_note")), table(say("names"), columns, published.toReversed()))];
}

function ageCard(aged) {
  const rows = aged.vehicles.filter((row) => row.percent_of_newest !== null);
  if (!rows.length) return [];
  const heading = say("depreciation", { month: monthName(aged.month) });
  const several = new Set(rows.map((row) => row.model)).size > 1;
  const fuels = new Set(rows.map((row) => row.fuel)).size;
  const columns = [
    text(say("year"), fuels > 1 ? seriesName : yearName),
    ...(several ? [text(say("model"), (row) => row.model)] : []),
    figure(say("price"), (row) => money(row.price_brl)),
    figure(say("percent"), (row) => number(row.percent_of_newest, 1)),
  ];
  const drawing = rows.length > 2 ? [chart(heading, byAge(rows)), note(say("depreciation_note"))] : [];
  return [widePanel(heading, ...drawing, table(heading, columns, rows))];
}

/** What remains by model year, the newest first: one line per model and fuel. */
function byAge(rows) {
  const years = [...new Set(rows.map((row) => row.model_year))].sort((a, b) => b - a);
  const name = (year) => yearName(rows.find((row) => row.model_year === year));
  const lineOf = (row) => `${row.model} ${row.fuel}`;
  const names = [...new Set(rows.map(lineOf))];
  const colours = ["var(--first)", "var(--second)", "var(--third)", "var(--fourth)", "var(--fifth)"];
  const all = names.map((each, place) => ({
    name: each,
    colour: colours[place % colours.length],
    dash: "none",
    symbol: "circle",
    points: rows
      .filter((row) => lineOf(row) === each)
      .map((row) => ({
        x: name(row.model_year),
        y: row.percent_of_newest,
        hint: `${seriesName(row)}\n${number(row.percent_of_newest, 1)}% · ${money(row.price_brl)}`,
      })),
  }));
  const axis = (width) => {
    const step = Math.ceil(years.length / Math.max(1, (width - 60) / 62));
    return { type: "point", domain: years.map(name), ticks: years.map(name).filter((_, place) => place % step === 0) };
  };
  return lines(all, { x: axis, zero: true, height: 260, format: (value) => `${number(value)}%` });
}

const fileColumns = () => [
  [say("in_month"), (row) => row.reference_month.slice(0, 7)],
  [say("brand"), (row) => row.brand],
  [say("model"), (row) => row.model],
  [say("year"), yearName],
  [say("fuel"), (row) => row.fuel],
  [say("published_fuel"), (row) => row.published_fuel],
  ["FIPE", () => wanted().get("vehicle")],
  [say("price"), (row) => row.price_brl],
];
