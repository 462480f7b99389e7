// Questions to the API. The answers are kept until the page is closed.

const kept = new Map();

/** Why there is no answer: the HTTP status, or 0 if the server was not reached. */
export class NoAnswer extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new NoAnswer(0, String(error));
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new NoAnswer(response.status, answer.detail ?? response.statusText);
  return answer;
}

function keep(path) {
  if (!kept.has(path)) {
    const answer = ask(path);
    kept.set(path, answer);
    answer.catch(() => kept.delete(path));
  }
  return kept.get(path);
}

const query = (values) =>
  new URLSearchParams(
    Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== ""),
  );

/** All items of a list that the API hands out in parts. */
async function all(path, values, limit) {
  const items = [];
  for (;;) {
    const part = await keep(`${path}?${query({ ...values, limit, offset: items.length })}`);
    items.push(...part.items);
    if (!part.next || !part.items.length) return items;
  }
}

export const months = () => all("v1/months", {}, 1000);
export const search = (words, signal) => ask(`v1/search?${query({ q: words, limit: 20 })}`, { signal });
export const history = (code) => keep(`v1/vehicles/${encodeURIComponent(code)}/history`);
export const depreciation = (code) => keep(`v1/vehicles/${encodeURIComponent(code)}/depreciation`);
export const movers = (month, filter) => keep(`v1/months/${encodeURIComponent(month)}/movers?${query(filter)}`);
export const brands = (type) => keep(`api/v2/${type}s/brands`);
export const value = (list) =>
  ask("v1/valuations", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(list),
  });
