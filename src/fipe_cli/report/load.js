"use strict";
// The load that brought the prices.

const { load } = data;

const MARKS = { loading: "…", complete: "✓", incomplete: "✗", cancelled: "✗" };
const CLASSES = { loading: "", complete: "good", incomplete: "bad", cancelled: "bad" };

// The ledger's word for all months together: the one that is furthest from complete.
const stateOf = () =>
  ["cancelled", "loading", "incomplete"].find((state) => load.months.some((each) => each.state === state)) ??
  "complete";

function loadSection() {
  if (!load) return section("load", say("no_load", names()), note(say("imported", names())));
  const sum = (name) => load.months.reduce((total, each) => total + each[name], 0);
  const began = Math.min(...load.months.map((each) => Date.parse(each.started_at)));
  const ended = Math.max(...load.months.map((each) => Date.parse(each.last_write_at)));
  const seconds = (ended - began) / 1000;
  return section(
    "load",
    say("load", { months: listed(load.months.map((each) => each.reference_month)) }),
    facts([
      [say("state"), `${MARKS[stateOf()]} ${say(stateOf())}`, CLASSES[stateOf()]],
      [say("duration"), duration(seconds)],
      [say("prices"), number(sum("prices"))],
      [say("rate"), seconds > 0 ? number((sum("prices") / seconds) * 60) : say("none")],
      [say("models"), `${number(sum("models_received"))} / ${number(sum("models_expected"))}`],
      [say("brands"), `${number(sum("brands_complete"))} / ${number(sum("brands_expected"))}`],
      [say("unpriced"), number(sum("unpriced"))],
      [say("rejected"), number(sum("rejected"))],
      [say("price_calls"), number(sum("prices") + sum("unpriced") + sum("rejected"))],
      [say("throttled"), load.throttled === null ? say("unknown") : number(load.throttled)],
      [say("run"), load.run_id, "small"],
    ]),
    cards(arrivalsCard(seconds), largestCard(), incompleteCard()),
  );
}

function arrivalsCard(seconds) {
  const title = say("arrivals");
  const [unit, length] = seconds < 180 ? ["seconds", 1] : seconds < 10_800 ? ["minutes", 60] : ["hours", 3_600];
  const rows = load.arrivals.map((point) => ({
    x: point.seconds / length,
    y: point.prices,
    hint: `${duration(point.seconds)}\n${number(point.prices)} ${say("prices")}`,
  }));
  const axis = (width) => ({
    ticks: Math.max(3, Math.floor(width / 70)),
    tickFormat: (value) => number(value, value % 1 ? 1 : 0),
  });
  const drawn = [{ name: say("prices"), colour: "var(--first)", dash: "none", points: rows }];
  const columns = [
    text(say("duration"), (row) => duration(row.x * length)),
    figure(say("prices"), (row) => number(row.y)),
  ];
  const some = rows.filter((_, place) => place % Math.ceil(rows.length / 20) === 0 || place === rows.length - 1);
  const drawing =
    rows.length > 1
      ? [chart(title, lines(drawn, { x: axis, y: {}, zero: true, format: number })), behind(title, columns, some)]
      : [];
  return card(
    title,
    ...drawing,
    note(rows.length > 1 ? `${say(unit)}. ${say("arrivals_note")}` : say("arrivals_at_once")),
  );
}

function largestCard() {
  const title = say("largest");
  const rows = load.brands.map((brand) => ({ ...brand, name: `${brand.brand} (${say(String(brand.vehicle_type))})` }));
  const shown = rows
    .map((row) => {
      const value = `${number(row.received)} / ${orNone(row.expected, number)}`;
      return {
        name: row.name,
        value: row.received ?? 0,
        text: row.received === row.expected ? number(row.received) : value,
        hint: `${row.name}\n${value}`,
        row,
      };
    })
    .toSorted((a, b) => b.value - a.value);
  const columns = [
    text(say("brand"), (row) => row.name),
    figure(say("received"), (row) => number(row.received ?? 0)),
    figure(say("expected"), (row) => orNone(row.expected, number)),
  ];
  const colour = ({ row }) => (row.received === row.expected ? "var(--first)" : "var(--bad)");
  return card(title, ...(shown.length ? [chart(title, bars(shown, colour)), behind(title, columns, rows)] : []));
}

function incompleteCard() {
  const title = say("incomplete_brands");
  const columns = [
    text(say("brand"), (row) => row.brand ?? say("none")),
    text(say("type"), (row) => say(String(row.vehicle_type))),
    text(say("in_month"), (row) => monthName(row.month)),
    figure(say("models"), (row) => `${number(row.models_received)} / ${orNone(row.models_expected, number)}`),
    figure(say("rejected"), (row) => number(row.rejected)),
  ];
  return wide(title, load.incomplete.length ? table(title, columns, load.incomplete) : note(say("all_complete")));
}

// What files have added.
function importSection() {
  const months = (row) => (row.months ? span(row.first_month, row.last_month) : say("none"));
  const columns = [
    text(say("source"), (row) => row.source),
    text(say("in_month"), (row) => (row.first_month === row.last_month && row.months ? monthName(row.first_month) : months(row))),
    figure(say("prices"), (row) => number(row.added)),
    figure(say("confirmed"), (row) => number(row.confirmed)),
    figure(say("kept_apart"), (row) => number(row.kept_apart)),
    figure(say("replaced"), (row) => number(row.replaced)),
    figure(say("files_unfinished"), (row) => number(row.files_unfinished)),
  ];
  const title = say("imports_by_name");
  return section("imports", say("imports"), cards(wide(title, table(title, columns, data.imports), note(say("imports_note")))));
}
