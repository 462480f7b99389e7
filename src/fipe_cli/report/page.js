"use strict";
// The page as a whole, in the chosen language.

function show() {
  forgetCharts();
  document.documentElement.lang = locale();
  document.title = say("title", names());
  document.getElementById("title").textContent = say("title", names());
  document.getElementById("compared").textContent = before ? say("compared", names()) : "";
  document.getElementById("languages").setAttribute("aria-label", say("languages"));
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  const sections = [
    moves("all").length ? movedSection() : monthSection(),
    zeroKmSection(),
    ...(before ? [differencesSection()] : []),
    vehicleSection(),
    loadSection(),
  ];
  document
    .getElementById("report")
    .replaceChildren(...notices(), ...summary(), keyFigures(), contents(sections), ...sections);
  document.getElementById("foot").textContent = say("foot", {
    place: say(data.place === null ? "place_here" : "place_there", data),
    made_at: new Date(data.made_at).toLocaleString(locale(), { dateStyle: "long", timeStyle: "short" }),
  });
}

for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => {
    language = button.dataset.language;
    show();
  });
show();
