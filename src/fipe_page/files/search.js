// Search as you type: a field whose suggestions are models, by the combobox pattern of ARIA.
import Combobox from "./libraries/combobox.js";
import { search } from "./api.js";

const PAUSE = 120;
/** Milliseconds without a key before the server is asked. */
const MOST = 20;

/** A search field; `chosen` gets the model and the FIPE code that the reader takes. */
export function searchField(id, label, chosen) {
  const input = element("input", {
    id,
    type: "search",
    autocomplete: "off",
    spellcheck: false,
    placeholder: say("search_hint"),
    enterKeyHint: "search",
  });
  const list = element("ul", { id: `${id}-list`, role: "listbox", hidden: true, "aria-label": label });
  const told = element("p", { className: "note", role: "status" });
  // Enter takes the first suggestion, unless the arrow keys have chosen another.
  const combobox = new Combobox(input, list, { firstOptionSelectionMode: "active", tabInsertsSuggestions: false });
  let open = false;
  let timer;
  let asked = new AbortController();

  function close() {
    if (open) combobox.stop();
    open = false;
    list.hidden = true;
  }

  function show(models) {
    const options = models.flatMap((model) => model.fipe_codes.map((code) => ({ ...model, code })));
    list.replaceChildren(...options.map(option));
    if (open) combobox.stop();
    list.hidden = !options.length;
    open = options.length > 0;
    if (open) combobox.start();
    const words = { count: models.length, words: input.value.trim() };
    told.textContent = say(!open ? "nothing_found" : models.length < MOST ? "found" : "found_first", words);
  }

  function option(model, place) {
    const { month } = option;
    const facts = [
      model.code,
      model.model_years.replace("zero km", say("zero_km")),
      money(model.price_brl),
      ...(model.last_month === month ? [] : [say("last_seen", { month: shortMonth(model.last_month) })]),
    ];
    const made = element(
      "li",
      { id: `${id}-${place}`, role: "option" },
      element("span", { textContent: vehicleName(model) }),
      element("small", { textContent: facts.join(" · ") }),
    );
    made.addEventListener("combobox-commit", () => {
      clear();
      chosen(model, model.code);
    });
    return made;
  }

  function clear() {
    clearTimeout(timer);
    asked.abort();
    input.value = "";
    told.textContent = "";
    close();
  }

  async function find() {
    asked.abort();
    asked = new AbortController();
    const words = input.value.trim();
    if (!words) return clear();
    const { signal } = asked;
    try {
      const answer = await search(words, signal);
      option.month = answer.items
        .map((model) => model.last_month)
        .sort()
        .at(-1);
      show(answer.items);
    } catch (error) {
      if (error.name === "AbortError") return;
      close();
      told.textContent = say("unreachable");
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "ArrowDown" && !open && list.children.length) show_again();
  });
  function show_again() {
    list.hidden = false;
    open = true;
    combobox.start();
  }
  input.addEventListener("blur", close);
  // A press on a suggestion must not take the focus away before the click.
  list.addEventListener("mousedown", (event) => event.preventDefault());

  return element(
    "div",
    { className: "search" },
    element("label", { htmlFor: id, textContent: label }),
    element("div", { className: "suggestions" }, input, list),
    told,
  );
}
