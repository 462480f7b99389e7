// A vehicle's history: which series it has, what they were called, and how their prices changed.

/** The rows of a history by series. Those of a series follow one another, by month. */
export function seriesOf(rows) {
  const found = [];
  for (const row of rows) {
    const last = found.at(-1)?.points.at(-1);
    const goesOn =
      last &&
      last.model_year === row.model_year &&
      last.fuel === row.fuel &&
      row.reference_month > last.reference_month;
    if (goesOn) found.at(-1).points.push(row);
    else found.push({ points: [row] });
  }
  const keys = new Map();
  for (const series of found) {
    const { brand, model, model_year, zero_km, fuel } = series.points.at(-1);
    const key = `${zero_km ? "0km" : model_year}-${fuel}`;
    // What stands side by side under one code, year and fuel is told apart by its place.
    const times = (keys.get(key) ?? 0) + 1;
    keys.set(key, times);
    Object.assign(series, { brand, model, model_year, zero_km, fuel, key: times > 1 ? `${key}-${times}` : key });
  }
  return found;
}

/** The series that a key names, or else the newest model year that still has a price, and had one a year ago if any had. */
export function chosenSeries(all, key) {
  const named = all.find((series) => series.key === key);
  if (named) return named;
  const last = (series) => series.points.at(-1).reference_month;
  const newest = all.map(last).sort().at(-1);
  const there = all.filter((series) => last(series) === newest);
  const aged = there.filter((series) => series.points.length > 12);
  return (aged.length ? aged : there).reduce((most, series) => (series.model_year > most.model_year ? series : most));
}

/** Under which names and fuels FIPE published a series, from when to when; one if it never changed. */
export function namesOf(points) {
  const found = [];
  for (const { brand, model, published_fuel: fuel, reference_month: month } of points) {
    const last = found.at(-1);
    if (last && last.brand === brand && last.model === model && last.fuel === fuel) last.until = month;
    else found.push({ brand, model, fuel, from: month, until: month });
  }
  return found;
}

const monthNumber = (month) => 12 * Number(month.slice(0, 4)) + Number(month.slice(5, 7)) - 1;

/** The month so many months before, as the first day that months are written as. */
export function monthsBefore(month, count) {
  const number = monthNumber(month) - count;
  return `${Math.floor(number / 12)}-${String((number % 12) + 1).padStart(2, "0")}-01`;
}

/** A price's change in percent since an earlier month, or null if that has no price. */
export function changeSince(points, month) {
  const before = points.find((point) => point.reference_month === month)?.price_brl;
  return before ? 100 * (points.at(-1).price_brl / before - 1) : null;
}

/** The points in percent of the price in a month; none if that has no price. */
export function indexed(points, month) {
  const base = points.find((point) => point.reference_month === month)?.price_brl;
  return base ? points.map((point) => ({ ...point, index: (100 * point.price_brl) / base })) : [];
}

/** The first month in which all of these have a price above zero; undefined if there is none. */
export function firstShared(all) {
  const [first, ...others] = all.map(
    (points) => new Set(points.filter((point) => point.price_brl > 0).map((point) => point.reference_month)),
  );
  return [...(first ?? [])].sort().find((month) => others.every((each) => each.has(month)));
}
