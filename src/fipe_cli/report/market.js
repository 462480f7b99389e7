"use strict";
// What the month is, and what moved since the month before it.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
useWords(read("words"), data.language);
const TYPES = [1, 2, 3];
const BRANDS = 14;
const FEWEST_OF_AN_AGE = 5;
const { market } = data;
const { month, before } = market;

const names = () => ({
  month: monthName(month),
  before: before && monthName(before),
  span: before && span(before, month),
});
const moves = (by) => market.moves.filter((row) => row.by === by);
const same = (row) => row.vehicles - row.rose - row.fell;

// What is compared ---------------------------------------------------------------------------------------------

function notices() {
  const said = [];
  if (market.loaded !== "whole") said.push(say(`not_whole_${market.loaded}`, names()));
  const passed = { months: listed(market.passed_over), count: market.passed_over.length };
  if (!before && passed.count) said.push(say("nothing_complete_before", { ...names(), ...passed }));
  else if (!before) said.push(say("nothing_before", names()));
  else if (passed.count) said.push(say("passed_over", { ...names(), ...passed }));
  if (before && !["whole", "imported"].includes(market.before_loaded)) said.push(say("before_part", names()));
  return said.map((text) => element("p", { className: "notice", textContent: sentence(text) }));
}

function summary() {
  const [all] = moves("all");
  if (!all) return [];
  const values = {
    ...names(),
    count: all.vehicles,
    rose: all.rose,
    fell: all.fell,
    same: same(all),
    median: percent(all.median, 2),
    rose_share: share(all.rose, all.vehicles),
    fell_share: share(all.fell, all.vehicles),
    same_share: share(same(all), all.vehicles),
  };
  return [element("p", { className: "lead", textContent: say(all.rose + all.fell ? "lead" : "lead_same", values) })];
}

function keyFigures() {
  const prices = market.types.reduce((total, row) => total + row.prices, 0);
  const entries = [[say("prices_in", names()), number(prices)]];
  if (!moves("all").length)
    entries.push(...market.types.map((row) => [say(String(row.vehicle_type)), number(row.prices)]));
  for (const row of moves("all")) entries.push([say("median_change_of"), percent(row.median, 2)]);
  for (const zeroKm of [true, false])
    for (const row of moves("zero km").filter((each) => each.zero_km === zeroKm))
      entries.push([say(zeroKm ? "median_change_zero_km" : "median_change_used"), percent(row.median, 2)]);
  if (market.differences) {
    const count = (what) => number(counted(what).reduce((total, row) => total + row.vehicles, 0));
    entries.push([say("new_in", names()), count("new")], [say("vanished_in", names()), count("gone")]);
  }
  return facts(entries);
}

// What moved -----------------------------------------------------------------------------------------------------

const movedColumns = () => [
  figure(say("vehicles"), (row) => number(row.vehicles)),
  figure(say("rose"), (row) => number(row.rose)),
  figure(say("fell"), (row) => number(row.fell)),
  figure(say("same"), (row) => number(same(row))),
  figure(say("median_change"), (row) => percent(row.median, 2)),
];
const typeColumn = () => text(say("type"), (row) => say(String(row.vehicle_type)));
const movedHint = (name, row) =>
  `${name}\n${say("median_change")}: ${percent(row.median, 2)}\n${number(row.vehicles)} ${say("vehicles")}`;

function movedSection() {
  return section(
    "moved",
    say("moved", names()),
    cards(
      card(
        say("by_type", names()),
        table(say("by_type", names()), [typeColumn(), ...movedColumns()], moves("type")),
        note(say("median_note")),
      ),
      spreadCard(),
      brandsCard(),
      agesCard(),
      moversCard(
        "rises",
        "nothing_rose",
        market.movers.filter((row) => row.change_percent > 0),
      ),
      moversCard("falls", "nothing_fell", market.movers.filter((row) => row.change_percent < 0).reverse()),
    ),
  );
}

function spreadCard() {
  const title = say("spread", names());
  const all = market.spread.reduce((total, row) => total + row.vehicles, 0);
  const steps = words[language].steps
    .map((name, step) => {
      const vehicles = market.spread.filter((row) => row.step === step).reduce((total, row) => total + row.vehicles, 0);
      const value = (100 * vehicles) / all;
      return {
        name,
        step,
        vehicles,
        value,
        text: number(value, 1) + "%",
        hint: `${name}\n${number(vehicles)} ${say("vehicles")}`,
      };
    })
    .reverse();
  const colour = (row) => (row.step === 4 ? "var(--soft)" : row.step > 4 ? "var(--up)" : "var(--down)");
  const columns = [
    text(say("change"), (row) => row.name),
    figure(say("vehicles"), (row) => number(row.vehicles)),
    figure(say("share"), (row) => number(row.value, 1)),
  ];
  return card(title, chart(title, bars(steps, colour)), behind(title, columns, steps));
}

function brandsCard() {
  const title = say("by_brand", names());
  const rows = moves("brand");
  const parts = TYPES.filter((type) => rows.some((row) => row.vehicle_type === type)).map((type) => {
    const ofType = rows.filter((row) => row.vehicle_type === type);
    const shown = ofType
      .toSorted((a, b) => b.vehicles - a.vehicles)
      .slice(0, BRANDS)
      .toSorted((a, b) => b.median - a.median)
      .map((row, _, all) => ({
        name: row.brand,
        value: row.median,
        text: percent(row.median, digitsFor(all.map((each) => each.median))),
        hint: movedHint(row.brand, row),
      }));
    const name = `${title}, ${say(String(type))}`;
    const columns = [text(say("brand"), (row) => row.brand), ...movedColumns()];
    return element(
      "div",
      {},
      element("h4", { textContent: sentence(say(String(type))) }),
      chart(
        name,
        bars(shown, (row) => (row.value < 0 ? "var(--down)" : "var(--up)")),
      ),
      behind(name, columns, ofType),
    );
  });
  return wide(title, element("div", { className: "thirds" }, ...parts), note(say("by_brand_note")));
}

function agesCard() {
  const title = say("by_age", names());
  const rows = moves("age").filter((row) => row.age !== null);
  const ageName = (row) => (row.age === OLDEST ? say("age_last", { age: row.age }) : number(row.age));
  const shown = rows.filter((row) => row.vehicles >= FEWEST_OF_AN_AGE);
  const drawn = linesByType(shown, (row) => ({
    x: row.age,
    y: row.median,
    hint: movedHint(`${say(String(row.vehicle_type))}, ${say("age")}: ${ageName(row)}`, row),
  }));
  return wide(
    title,
    ...(shown.length
      ? [
          legend(drawn),
          chart(
            title,
            lines(drawn, {
              x: ages,
              y: {},
              zero: true,
              format: (value) => percent(value, digitsFor(shown.map((row) => row.median))),
            }),
          ),
        ]
      : []),
    note(say("by_age_note", { ...names(), count: FEWEST_OF_AN_AGE })),
    behind(title, [typeColumn(), figure(say("age"), ageName), ...movedColumns()], rows),
  );
}

function linesByType(rows, point) {
  return TYPES.filter((type) => rows.some((row) => row.vehicle_type === type)).map((type) => ({
    name: say(String(type)),
    colour: COLOURS[type],
    symbol: SYMBOLS[type],
    dash: DASHES[type],
    points: rows.filter((row) => row.vehicle_type === type).map(point),
  }));
}

function moversCard(key, none, rows) {
  const title = say(key, names());
  const columns = [
    text(say("model"), vehicleName),
    text(say("year"), yearName),
    text(say("fuel"), (row) => row.fuel),
    figure(shortMonth(before), (row) => money(row.price_before)),
    figure(shortMonth(month), (row) => money(row.price_brl)),
    figure(say("change"), (row) => percent(row.change_percent)),
  ];
  return wide(title, rows.length ? table(title, columns, rows) : note(say(none, names())));
}

// Zero km and used -----------------------------------------------------------------------------------------------

function monthSection() {
  const title = say("types", names());
  const columns = [
    typeColumn(),
    figure(say("brands"), (row) => number(row.brands)),
    figure(say("models"), (row) => number(row.models)),
    figure(say("prices"), (row) => number(row.prices)),
    figure(say("median"), (row) => money(row.median)),
  ];
  return section("month", say("month", names()), cards(wide(title, table(title, columns, market.types))));
}

function zeroKmSection() {
  const heading = before ? say("zero_km_and_used", names()) : say("zero_km_and_used_month", names());
  return section("zero_km_and_used", heading, cards(zeroKmCard(), ...depreciationAndIndex()));
}

function zeroKmCard() {
  const title = before ? say("zero_km_by_type", names()) : say("zero_km_by_type_month", names());
  const rows = market.types
    .flatMap((type) =>
      [true, false].map((zeroKm) => ({
        vehicle_type: type.vehicle_type,
        zero_km: zeroKm,
        prices: zeroKm ? type.zero_km : type.prices - type.zero_km,
        price: zeroKm ? type.median_zero_km : type.median_used,
        moved: moves("type and zero km").find(
          (row) => row.vehicle_type === type.vehicle_type && row.zero_km === zeroKm,
        ),
      })),
    )
    .filter((row) => row.prices);
  const columns = [
    text(say("type"), (row) => `${say(String(row.vehicle_type))}, ${say(row.zero_km ? "zero_km" : "used")}`),
    figure(say("prices_in", { month: shortMonth(month) }), (row) => number(row.prices)),
    figure(say("median"), (row) => orNone(row.price, money)),
  ];
  if (before)
    columns.push(
      figure(say("rose"), (row) => orNone(row.moved?.rose, number)),
      figure(say("fell"), (row) => orNone(row.moved?.fell, number)),
      figure(say("same"), (row) => orNone(row.moved && same(row.moved), number)),
      figure(say("median_change"), (row) => orNone(row.moved?.median, (value) => percent(value, 2))),
    );
  return wide(title, table(title, columns, rows));
}

/** Side by side, unless one of them has nothing to show. */
function depreciationAndIndex() {
  const kind = market.depreciation.length && market.index.length ? card : wide;
  return [depreciationCard(kind), indexCard(kind)];
}

function depreciationCard(kind) {
  const title = say("depreciation", names());
  const rows = market.depreciation;
  if (!rows.length) return kind(title, note(say("no_depreciation", names())));
  const drawn = linesByType(rows, (row) => ({
    x: row.age,
    y: row.percent,
    hint: `${say(String(row.vehicle_type))}, ${say("age")}: ${number(row.age)}\n${number(row.percent, 1)}${say("percent_of_new")}\n${number(row.vehicles)} ${say("vehicles")}`,
  }));
  const columns = [
    typeColumn(),
    figure(say("age"), (row) => number(row.age)),
    figure(say("vehicles"), (row) => number(row.vehicles)),
    figure(say("percent_of_new"), (row) => number(row.percent, 1)),
  ];
  return kind(
    title,
    legend(drawn),
    chart(
      title,
      lines(drawn, {
        x: ages,
        y: { domain: [0, Math.max(100, ...rows.map((row) => row.percent))] },
        height: 320,
        format: (value) => number(value) + "%",
      }),
    ),
    note(`${say("age")}. ${say("depreciation_note")}`),
    behind(title, columns, rows),
  );
}

/** The index of each type, zero km and used: 100 in the first month, and then the median changes, one after another. */
function indexLines() {
  const found = [];
  for (const type of TYPES)
    for (const zeroKm of [true, false]) {
      const rows = market.index.filter((row) => row.vehicle_type === type && row.zero_km === zeroKm);
      if (!rows.length) continue;
      let value = 100;
      const steps = [[rows[0].before, value], ...rows.map((row) => [row.month, (value *= row.ratio)])];
      const name = say(zeroKm ? "zero_km" : "used");
      found.push({
        name,
        facet: say(String(type)),
        colour: zeroKm ? "var(--first)" : "var(--second)",
        symbol: zeroKm ? "circle" : "square",
        dash: zeroKm ? "none" : "6 3",
        points: steps.map(([at, index]) => ({
          x: dateOf(at),
          y: index,
          month: at,
          type,
          zeroKm,
          hint: `${say(String(type))}, ${name}, ${monthName(at)}\n${number(index, 1)}`,
        })),
      });
    }
  return found;
}

function indexCard(kind) {
  const all = indexLines();
  if (!all.length) return kind(say("index", { span: monthName(month) }), note(say("no_index", names())));
  const points = all.flatMap((line) => line.points);
  const first = points.map((point) => point.month).sort()[0];
  const title = say("index", { span: span(first, month) });
  const values = points.map((point) => point.y);
  const isWide = Math.max(...values) - Math.min(...values) > 6;
  const byName = [...new Map(all.map((line) => [line.name, line])).values()];
  const columns = [
    text(say("in_month"), (point) => monthName(point.month)),
    text(say("type"), (point) => `${say(String(point.type))}, ${say(point.zeroKm ? "zero_km" : "used")}`),
    figure(say("index_value"), (point) => number(point.y, 1)),
  ];
  return kind(
    title,
    legend(byName),
    chart(
      title,
      lines(all, {
        x: months,
        y: {},
        height: 340,
        format: (value) => number(value, isWide ? 0 : 1),
        facets: [...new Set(all.map((line) => line.facet))],
      }),
    ),
    note(say("index_note", { before: monthName(first) })),
    behind(title, columns, points),
  );
}

// New and vanished -------------------------------------------------------------------------------------------------

const counted = (what) => market.differences.counts.filter((row) => row.difference === what);

function differencesSection() {
  const heading = say("came_and_went", names());
  if (!market.differences) return section("came_and_went", heading, note(say("not_told", names())));
  const of = (what, type) => counted(what).find((row) => row.vehicle_type === type) ?? { vehicles: 0, whole_models: 0 };
  const title = say("counts", names());
  const types = TYPES.filter(
    (type) => market.types.some((row) => row.vehicle_type === type) || of("gone", type).vehicles,
  );
  const columns = [
    text(say("type"), (type) => say(String(type))),
    figure(say("new_vehicles"), (type) => number(of("new", type).vehicles)),
    figure(say("new_models"), (type) => number(of("new", type).whole_models)),
    figure(say("gone_vehicles"), (type) => number(of("gone", type).vehicles)),
    figure(say("gone_models"), (type) => number(of("gone", type).whole_models)),
  ];
  return section(
    "came_and_went",
    heading,
    cards(wide(title, table(title, columns, types)), differenceCard("new"), differenceCard("gone")),
  );
}

function differenceCard(what) {
  const title = say(what, names());
  if (!counted(what).length)
    return wide(title, note(say(what === "new" ? "nothing_new" : "nothing_vanished", names())));
  return wide(title, ...[true, false].flatMap((whole) => modelsTable(what, whole, title)));
}

/** Models that are new or vanished as a whole, or the others, of which only some years or fuels did. */
function modelsTable(what, whole, title) {
  const rows = market.differences.models.filter((row) => row.difference === what && row.whole_model === whole);
  if (!rows.length) return [];
  const count = counted(what).reduce(
    (total, row) => total + (whole ? row.whole_models : row.models - row.whole_models),
    0,
  );
  const heading = say(`${what}_${whole ? "whole" : "part"}`, { ...names(), count });
  const price = (row) => (row.least === row.most ? money(row.least) : `${money(row.least)} – ${money(row.most)}`);
  const columns = [
    text(say("model"), vehicleName),
    text(say("type"), (row) => say(String(row.vehicle_type))),
    text(say("years"), yearsOf),
    text(say("fuel"), (row) => row.fuels),
    figure(shortMonth(what === "new" ? month : before), price),
  ];
  const some = rows.length < count ? [note(say("listed_some", { shown: rows.length, count }))] : [];
  return [element("h4", { textContent: heading }), table(`${title}: ${heading}`, columns, rows), ...some];
}

function yearsOf(row) {
  const years = row.first_year === row.last_year ? row.first_year : `${row.first_year}–${row.last_year}`;
  return [row.zero_km ? say("zero_km") : null, row.first_year ? String(years) : null].filter(Boolean).join(", ");
}
