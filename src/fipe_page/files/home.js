// What the page opens with: what it is for, and what moved last.
import { address } from "./address.js";
import { NoAnswer, movers } from "./api.js";
import { moverColumns, notice, title } from "./parts.js";

const SHOWN = 5;

export async function render() {
  const start = [title(say("home")), element("p", { className: "lead", textContent: say("home_lead") })];
  try {
    const moved = await movers("latest", { limit: SHOWN });
    return [...start, ...(moved.month_before ? [movedSection(moved)] : [])];
  } catch (error) {
    if (error instanceof NoAnswer && error.status === 404) return [...start, notice(say("no_months"))];
    throw error;
  }
}

function movedSection(moved) {
  const values = { span: span(moved.month_before, moved.month) };
  const side = (name, none, rows) =>
    card(say(name, values), rows.length ? table(say(name, values), moverColumns(), rows) : note(say(none, values)));
  return section(
    "moved",
    say("moved", values),
    cards(side("rises", "nothing_rose", moved.rose), side("falls", "nothing_fell", moved.fell)),
    element("p", {}, element("a", { href: address({ view: "movers" }), textContent: say("all_movers") })),
  );
}
