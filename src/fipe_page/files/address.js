// What the page shows is in its address, so that a link shows the same. A list of vehicles to value stays behind the #,
// which browsers do not send to the server.

/** What the address asks for. */
export const wanted = () => new URLSearchParams(location.search);

/** An address that asks for this; a list gives several values, and an empty value leaves the key out. */
export function address(values) {
  const query = new URLSearchParams();
  const language = wanted().get("lang");
  for (const [key, value] of Object.entries({ ...values, lang: values.lang ?? language }))
    for (const each of [value].flat()) if (each) query.append(key, each);
  return `?${query}`;
}

/** The present address with some values changed. */
export function changed(values) {
  const query = wanted();
  for (const [key, value] of Object.entries(values)) {
    query.delete(key);
    for (const each of [value].flat()) if (each) query.append(key, each);
  }
  return `?${query}${location.hash}`;
}

/**
 * Show what an address asks for. `replace` leaves no step to go back to; `stay` keeps the focus where it is, instead of
 * moving it to the new heading.
 */
export function go(target, { replace = false, stay = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", target);
  dispatchEvent(new CustomEvent("go", { detail: { stay } }));
}
