// The parts of Observable Plot that the report draws with. `make charts` bundles them into src/fipe_cli/report/charts.js.
export {
  areaY, axisX, axisY, barX, barY, dot, gridX, gridY, line, plot, pointer, pointerX, pointerY, ruleX, ruleY, text, tip,
} from "@observablehq/plot";
