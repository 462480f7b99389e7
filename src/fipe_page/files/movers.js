// The vehicles whose prices rose and fell most in a month, by type, brand and direction.
import { changed, go } from "./address.js";
import { brands, months, movers } from "./api.js";
import { choice, copyLink, download, field, moverColumns, notice, panel, title, tools, widePanel } from "./parts.js";

const TYPES = ["car", "motorcycle", "truck"];
const FEW = 20;
const MANY = 100;

export async function render(query) {
  const type = TYPES.includes(query.get("type")) ? query.get("type") : "";
  const brand = query.get("brand") ?? "";
  const direction = ["up", "down"].includes(query.get("direction")) ? query.get("direction") : "";
  const limit = query.get("more") ? MANY : FEW;
  const [moved, names, all] = await Promise.all([
    movers(query.get("month") ?? "latest", { type, brand, limit }),
    brandNames(type),
    months(),
  ]);
  const month = moved.month.slice(0, 7);
  const [rose, fell] = [direction === "down" ? [] : moved.rose, direction === "up" ? [] : moved.fell];

  const state = all.find((each) => each.month === moved.month);
  const values = { span: moved.month_before && span(moved.month_before, moved.month), brand };
  const made = [
    title(moved.month_before ? say("moved", values) : say("movers")),
    filters(month, all, type, brand, names, direction),
  ];
  if (state && !state.complete) made.push(notice(say("still_loading", { month: monthName(moved.month) })));
  if (!moved.month_before) return [...made, notice(say("nothing_before", { month: monthName(moved.month) }))];
  if (brand && !moved.rose.length && !moved.fell.length) made.push(notice(say("none_of_brand", values)));
  const side = (name, none, rows) =>
    (direction ? widePanel : panel)(
      say(name, values),
      rows.length ? table(say(name, values), moverColumns(), rows) : note(say(none, values)),
    );
  made.push(
    cards(
      ...(direction === "down" ? [] : [side("rises", "nothing_rose", rose)]),
      ...(direction === "up" ? [] : [side("falls", "nothing_fell", fell)]),
    ),
    tools(
      ...(limit === FEW && (rose.length === FEW || fell.length === FEW)
        ? [element("a", { href: changed({ more: "1" }), textContent: say("show_more") })]
        : []),
      copyLink(),
      download(`fipe-${month}`, fileColumns(), () => [...rose, ...fell]),
    ),
  );
  return made;
}

const fileColumns = () => [
  [say("type"), (row) => say(String(TYPES.indexOf(row.vehicle_type) + 1))],
  [say("brand"), (row) => row.brand],
  [say("model"), (row) => row.model],
  [say("year"), (row) => yearName(row)],
  [say("fuel"), (row) => row.fuel],
  ["FIPE", (row) => row.fipe_code],
  [say("before"), (row) => row.price_before],
  [say("price"), (row) => row.price_brl],
  [say("change"), (row) => row.change_percent],
];

async function brandNames(type) {
  const lists = await Promise.all((type ? [type] : TYPES).map((each) => brands(each).catch(() => [])));
  return [...new Set(lists.flat().map((each) => each.name))].sort((a, b) => a.localeCompare(b));
}

function filters(month, all, type, brand, names, direction) {
  const to = (key) => (value) => go(changed({ [key]: value, more: "" }), { stay: true });
  const monthList = all.map((each) => [each.month.slice(0, 7), monthName(each.month)]);
  const input = element("input", { id: "brand", value: brand, placeholder: say("all_brands"), autocomplete: "off" });
  input.setAttribute("list", "brands");
  input.addEventListener("change", () => to("brand")(input.value.trim()));
  return element(
    "div",
    { className: "filters" },
    field(say("month"), choice("month", monthList, month, to("month"))),
    field(
      say("type"),
      choice(
        "type",
        [["", say("all_types")], ...TYPES.map((each, place) => [each, say(String(place + 1))])],
        type,
        to("type"),
      ),
    ),
    field(say("brand"), input),
    element("datalist", { id: "brands" }, ...names.map((value) => element("option", { value }))),
    field(
      say("direction"),
      choice(
        "direction",
        [
          ["", say("both")],
          ["up", say("up")],
          ["down", say("down")],
        ],
        direction,
        to("direction"),
      ),
    ),
  );
}
