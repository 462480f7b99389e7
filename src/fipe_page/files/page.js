// The page as a whole: which view the address asks for, and in which language.
import { address, changed, go, wanted } from "./address.js";
import { failure, title, vehicleAddress } from "./parts.js";
import { searchField } from "./search.js";

const VIEWS = {
  home: () => import("./home.js"),
  vehicle: () => import("./vehicle.js"),
  compare: () => import("./compare.js"),
  movers: () => import("./movers.js"),
  fleet: () => import("./fleet.js"),
};
const view = document.getElementById("view");
let shown = 0;

function viewOf(query) {
  if (query.get("vehicle")) return "vehicle";
  if (query.get("compare")) return "compare";
  return Object.hasOwn(VIEWS, query.get("view") ?? "") ? query.get("view") : "home";
}

function frame(name) {
  // Comparing has a search of its own, which adds a vehicle.
  document.getElementById("search").hidden = name === "compare";
  document.documentElement.lang = locale();
  document.getElementById("name").textContent = say("name");
  document.getElementById("skip").textContent = say("skip");
  document.getElementById("home").href = address({});
  const views = document.getElementById("views");
  views.setAttribute("aria-label", say("views"));
  views.replaceChildren(
    ...["movers", "compare", "fleet"].map((each) => {
      const current = each === name ? { "aria-current": "page" } : {};
      return element("a", { href: address({ view: each }), textContent: say(each), ...current });
    }),
  );
  document.getElementById("languages").setAttribute("aria-label", say("languages"));
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  const api = element("a", { href: "openapi.json", textContent: say("foot_api") });
  document.getElementById("foot").replaceChildren(element("p", { textContent: say("foot") }), element("p", {}, api));
}

function searching() {
  const open = (_, code) => go(vehicleAddress(code));
  document.getElementById("search").replaceChildren(searchField("find", say("search"), open));
}

/** Show what the address asks for. The focus goes to its heading, or with `stay` to the control that had it. */
async function show({ stay = false } = {}) {
  const turn = ++shown;
  const held = document.activeElement?.id;
  const query = wanted();
  const name = viewOf(query);
  frame(name);
  view.setAttribute("aria-busy", "true");
  const status = document.getElementById("status");
  status.textContent = say("loading");
  let made;
  try {
    const { render } = await VIEWS[name]();
    forgetCharts();
    made = await render(query);
  } catch (error) {
    made = [title(say(Object.hasOwn(words[language], name) ? name : "name")), failure(error, () => show())];
  }
  if (turn !== shown) return;
  view.replaceChildren(...made);
  view.removeAttribute("aria-busy");
  const heading = view.querySelector("h1");
  document.title = name === "home" ? say("name") : `${heading.textContent} · ${say("name")}`;
  status.textContent = say("loaded", { title: heading.textContent });
  if (!stay) heading.focus();
  else if (held) document.getElementById(held)?.focus();
}

// Links within the page show another view without loading the page again.
document.addEventListener("click", (event) => {
  const target = event.target.closest?.("a[href^='?']");
  if (!target || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(target.getAttribute("href"));
  scrollTo(0, 0);
});
document.getElementById("skip").addEventListener("click", (event) => {
  // What stands behind the # may be a list of vehicles.
  event.preventDefault();
  view.focus();
});
for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => {
    language = button.dataset.language;
    searching();
    go(changed({ lang: language }), { replace: true, stay: true });
  });
addEventListener("go", (event) => show(event.detail));
addEventListener("popstate", () => show());

const [shared, own] = await Promise.all(
  ["shared/words.json", "words.json"].map(async (name) => (await fetch(new URL(name, import.meta.url))).json()),
);
for (const each of Object.keys(own)) Object.assign(own[each], shared[each]);
useWords(own, wanted().get("lang"));
searching();
await show({ stay: true });
