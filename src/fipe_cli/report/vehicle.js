"use strict";
// A vehicle in depth.

const { vehicle } = data;

function vehicleSection() {
  const name = vehicleName(vehicle);
  const heading = say(before ? "vehicle" : "vehicle_month", { ...names(), vehicle: name });
  const about = say("code", { code: vehicle.fipe_code }) + (vehicle.is_example ? " " + say("example") : "");
  const there = vehicle.by_age.length
    ? [vehicleFigures()]
    : [note(say("not_in_month", { ...names(), last: monthName(vehicle.last_month) }))];
  return section("vehicle", heading, note(about), ...there, cards(...historyCards()));
}

const seriesName = (row) => {
  const models = new Set(vehicle.series.map((each) => each.model)).size > 1 ? `, ${row.model}` : "";
  return `${yearName(row)} ${row.fuel}${models}`;
};
const changed = (now, then) => orNone(then ? 100 * (now / then - 1) : null, (value) => percent(value));

function vehicleFigures() {
  const newest = vehicle.by_age.toSorted((a, b) => b.model_year - a.model_year)[0];
  const entries = [[say("newest", { ...names(), which: `${yearName(newest)} ${newest.fuel}` }), money(newest.price)]];
  if (newest.before) entries.push([say("since_before", names()), changed(newest.price, newest.before)]);
  if (newest.year_ago)
    entries.push([
      say("since_year", { year_ago: monthName(vehicle.year_ago) }),
      changed(newest.price, newest.year_ago),
    ]);
  return facts(entries);
}

function historyCards() {
  const all = vehicle.series.flatMap((row) => row.points.map(([at]) => at)).sort();
  const [first, last] = [all[0], all.at(-1)];
  if (first === last) {
    const title = say("age_prices", { month: monthName(last) });
    return [
      wide(
        title,
        chart(title, pricesByYear()),
        note(say("history_one", { month: monthName(last) })),
        ...agesTable(title),
      ),
    ];
  }
  const title = say("history", { first: monthName(first), last: monthName(last) });
  const longest = vehicle.series.reduce(
    (most, row, place) => (row.points.length > vehicle.series[most].points.length ? place : most),
    0,
  );
  const holder = element("div");
  const choice = element(
    "select",
    { id: "series" },
    ...vehicle.series.map((row, place) =>
      element("option", { value: String(place), textContent: seriesName(row), selected: place === longest }),
    ),
  );
  const show = () => holder.replaceChildren(...historyOf(vehicle.series[choice.value], title));
  choice.addEventListener("change", show);
  show();
  const label = element("label", { htmlFor: "series", textContent: say("follow") });
  const history = wide(title, element("p", { className: "choice" }, label, choice), holder);
  const byAge = say("age_prices", names());
  return [history, ...(vehicle.by_age.length ? [wide(byAge, ...agesTable(byAge))] : [])];
}

function historyOf(chosen, title) {
  const points = (row) =>
    row.points.map(([at, price]) => ({
      x: dateOf(at),
      y: price,
      at,
      name: seriesName(row),
      hint: `${seriesName(row)}, ${monthName(at)}\n${money(price)}`,
    }));
  const others = vehicle.series.filter((row) => row !== chosen).flatMap(points);
  const own = points(chosen);
  const label = say("history_of", {
    which: seriesName(chosen),
    first: monthName(own[0].at),
    last: monthName(own.at(-1).at),
  });
  const columns = [
    text(say("in_month"), (point) => monthName(point.at)),
    figure(say("price"), (point) => money(point.y)),
  ];
  const line = { name: seriesName(chosen), colour: "var(--first)", dash: "none" };
  const rest = others.length ? [{ name: say("others"), colour: "var(--pale)", dash: "none" }] : [];
  return [
    legend([line, ...rest]),
    chart(`${title}. ${label}`, pricesByMonth(own, others)),
    behind(label, columns, own.toReversed()),
  ];
}

function pricesByYear() {
  return bars(
    vehicle.series.map((row) => {
      const [, price] = row.points.at(-1);
      return { name: seriesName(row), value: price, text: money(price), hint: `${seriesName(row)}\n${money(price)}` };
    }),
    "var(--first)",
  );
}

function agesTable(title) {
  if (!vehicle.by_age.length) return [];
  const several = new Set(vehicle.by_age.map((row) => row.model)).size > 1;
  const columns = [
    text(say("year"), yearName),
    ...(several ? [text(say("model"), (row) => row.model)] : []),
    text(say("fuel"), (row) => row.fuel),
    figure(shortMonth(month), (row) => money(row.price)),
    figure(say("percent"), (row) => orNone(row.percent, (value) => number(value, 1))),
  ];
  if (before)
    columns.push(figure(say("since_before", { before: shortMonth(before) }), (row) => changed(row.price, row.before)));
  if (vehicle.by_age.some((row) => row.year_ago))
    columns.push(
      figure(say("since_year", { year_ago: shortMonth(vehicle.year_ago) }), (row) => changed(row.price, row.year_ago)),
    );
  return [table(title, columns, vehicle.by_age)];
}
