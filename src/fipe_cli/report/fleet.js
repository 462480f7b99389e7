"use strict";
// A fleet in depth.

const { fleet } = data;

const KINDS = { car: 1, motorcycle: 2, truck: 3 };
const brandName = (row) => (row.brand ? `${row.brand} (${say(String(KINDS[row.type]))})` : say("unknown_brand"));

function fleetSection() {
  const heading = say(before ? "fleet" : "fleet_month", { ...names(), name: fleet.name });
  return section("fleet", heading, fleetFigures(), cards(fleetBrandsCard(), withoutPriceCard()));
}

function fleetFigures() {
  const { all } = fleet;
  const entries = [
    [say("value_in", names()), money(all.value_brl)],
    [say("vehicles"), number(all.vehicles)],
    [say("without_price", names()), number(all.without_price)],
  ];
  if (before && all.change_percent !== null)
    entries.push(
      [say("since_before", names()), percent(all.change_percent, 2)],
      [say("change_since", names()), money(all.change_brl)],
    );
  return facts(entries);
}

function fleetBrandsCard() {
  const title = before ? say("by_brand", names()) : say("by_brand_month", names());
  const rows = fleet.totals.toSorted((a, b) => b.value_brl - a.value_brl);
  const shown = rows.filter((row) => row.value_brl > 0).slice(0, BRANDS);
  const bar = (row) => ({
    name: brandName(row),
    value: row.value_brl,
    text: money(row.value_brl),
    hint: `${brandName(row)}\n${number(row.vehicles)} ${say("vehicles")}`,
  });
  const columns = [
    text(say("brand"), brandName),
    figure(say("vehicles"), (row) => number(row.vehicles)),
    figure(say("without_price", { month: shortMonth(month) }), (row) => number(row.without_price)),
    figure(say("value_in", { month: shortMonth(month) }), (row) => money(row.value_brl)),
  ];
  if (before)
    columns.push(
      figure(say("change_since", { before: shortMonth(before) }), (row) => money(row.change_brl)),
      figure(say("change"), (row) => orNone(row.change_percent, (value) => percent(value, 2))),
    );
  const drawing = shown.length ? [chart(say("value_in", names()), bars(shown.map(bar), "var(--first)"))] : [];
  return wide(title, ...drawing, table(title, columns, rows));
}

function withoutPriceCard() {
  const title = say("without_price", names());
  const rows = Object.entries(fleet.without_price).toSorted((a, b) => b[1] - a[1]);
  const columns = [
    text(say("reason"), ([reason]) => words[language].reasons[reason] ?? reason),
    figure(say("vehicles"), ([, vehicles]) => number(vehicles)),
  ];
  return wide(sentence(title), rows.length ? table(title, columns, rows) : note(say("all_priced", names())));
}
