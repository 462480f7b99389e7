// A vehicle's history: which series it has, what they were called, and how their prices changed.

/** The vehicles of a history, each with a key of its own and a point per month. */
export function seriesOf(histories) {
  const keys = new Map();
  return histories.map(({ prices, ...vehicle }) => {
    const key = `${vehicle.zero_km ? "0km" : vehicle.model_year}-${vehicle.fuel}`;
    // What stands side by side under one code, year and fuel is told apart by its place.
    const times = (keys.get(key) ?? 0) + 1;
    keys.set(key, times);
    const points = Object.entries(prices).map(([reference_month, price_brl]) => ({ reference_month, price_brl }));
    return { ...vehicle, key: times > 1 ? `${key}-${times}` : key, points };
  });
}

/** The rows of a file: each month of each series, as FIPE published it. */
export function rowsOf(series) {
  return series.flatMap(({ points, published, ...vehicle }) =>
    points.map((point) => {
      const { brand, model, fuel } = published.find((each) => point.reference_month <= each.last_month);
      return { ...vehicle, brand, model, published_fuel: fuel, ...point };
    }),
  );
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
