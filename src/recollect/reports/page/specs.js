// Vega-Lite specifications of the panels. Colours are CSS variables, so that they follow the theme,
// in print too. Every point has `x`, `y`, `low`, `high`, `row` (its place), `said` (its description)
// and its look.

const HEIGHT = 210;
const ROW = 18;
const INK = "var(--ink)";
const asIs = (field) => ({ field, type: "nominal", scale: null, legend: null });
const quantity = (field, scale, axis) => ({ field, type: "quantitative", scale, axis });

const CONFIG = {
  background: "transparent",
  font: "system-ui, sans-serif",
  view: { stroke: null },
  axis: {
    domainColor: "var(--line)",
    tickColor: "var(--line)",
    gridColor: "var(--grid)",
    labelColor: INK,
    titleColor: INK,
    titleFontWeight: "normal",
    labelFontSize: 11,
    titleFontSize: 12,
  },
};

// A logarithmic axis cannot show values that are not above 0.
const fits = (point, axes) => (!axes.x.log || point.x > 0) && (!axes.y.log || point.y > 0);

function scaleOf(axis) {
  const kind = axis.log ? { type: "log", base: axis.base || 10, nice: false } : { zero: false };
  return axis.domain ? { ...kind, domain: axis.domain, nice: false } : kind;
}

function axisOf(axis) {
  const ticks = axis.ticks ? { values: axis.ticks } : { tickCount: 5 };
  return { title: axis.title, labelOverlap: true, format: axis.format, ...ticks };
}

// Layers that all panels share; `axes.x` and `axes.y` have title, log, and optionally domain and ticks.
function chart(layers, axes) {
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    width: "container",
    height: HEIGHT,
    autosize: { type: "fit", contains: "padding" },
    config: CONFIG,
    params: [{ name: "at", value: -1 }], // the row of the focused point
    layer: layers.filter((layer) => layer.data.values.length),
    encoding: {
      x: quantity("x", { ...scaleOf(axes.x), padding: 12 }, axisOf(axes.x)),
      y: quantity("y", scaleOf(axes.y), axisOf(axes.y)),
    },
  };
}

function lines(points, width) {
  return {
    data: { values: points },
    mark: { type: "line", strokeWidth: width, clip: true },
    encoding: {
      detail: { field: "series", type: "nominal" },
      order: { field: "x", type: "quantitative" },
      stroke: asIs("colour"),
      strokeDash: asIs("dash"),
    },
  };
}

function bars(points) {
  return {
    data: { values: points },
    mark: { type: "rule", strokeWidth: 1, clip: true },
    encoding: { y: { field: "low", type: "quantitative" }, y2: { field: "high" }, stroke: asIs("colour") },
  };
}

// Points: `hollow` as marked, `large` for chosen rates, `small` for weaker evidence.
function marks(points) {
  return {
    data: { values: points },
    mark: { type: "point", cursor: "pointer", strokeWidth: 1.5, opacity: 1 },
    encoding: {
      stroke: asIs("colour"),
      fill: { condition: { test: "datum.hollow", value: "var(--page)" }, ...asIs("colour") },
      shape: asIs("shape"),
      size: {
        condition: [
          { test: "datum.row === at", value: 260 },
          { test: "datum.small", value: 18 },
        ],
        value: 60,
      },
      tooltip: { field: "said", type: "nominal" },
    },
  };
}

function rings(points) {
  return {
    data: { values: points },
    mark: { type: "point", shape: "circle", size: 240, filled: false, strokeWidth: 1.5, tooltip: null },
    encoding: { stroke: asIs("colour") },
  };
}

// Moves points of one width apart in a compiled panel, by `nudge` pixels, so that equal ones are
// visible.
function sideBySide(compiled) {
  const visit = (mark) => {
    const x = mark.encode && mark.encode.update.x;
    if (x && x.field === "x") x.offset = { field: "nudge" };
    (mark.marks || []).forEach(visit);
  };
  compiled.marks.forEach(visit);
  return compiled;
}

// The domain of widths, with room at both ends.
function around(values, log) {
  const [least, most] = [values[0], values[values.length - 1]];
  if (log) return [least / 1.3, most * 1.3];
  const room = 0.06 * (most - least) || 1;
  return [least - room, most + room];
}

// A ranking of cells of one width: one row per cell, the best on top.
function ranking(points, axis, chances) {
  const best = [...points].sort((a, b) => b.y - a.y).map((point) => point.name);
  const rows = { field: "name", type: "nominal", sort: best, title: null };
  const [chance, bar] = [chanceLine(chances), bars(points)];
  chance.encoding = { y: null, x: chance.encoding.y };
  bar.encoding = { x: bar.encoding.y, x2: bar.encoding.y2, stroke: bar.encoding.stroke };
  const upright = chart([chance, bar, marks(points)], { x: {}, y: axis });
  return {
    ...upright,
    height: ROW * best.length + 50,
    encoding: { x: upright.encoding.y, y: { ...rows, axis: { labelLimit: 150 } } },
  };
}

function chanceLine(chances) {
  return {
    data: { values: chances.map((chance) => ({ chance })) },
    mark: { type: "rule", strokeDash: [4, 4], color: "var(--faint)" },
    encoding: { x: null, y: { field: "chance", type: "quantitative" } },
  };
}

// The window of working rates of each cell, as a strip at the bottom of the panel.
function windows(cells, look) {
  return cells.map((cell, turn) => ({
    data: { values: [{ low: cell.window_low, high: cell.window_high }] },
    mark: { type: "rule", strokeWidth: 3, stroke: look(cell).colour, opacity: 0.8 },
    encoding: {
      x: { field: "low", type: "quantitative" },
      x2: { field: "high" },
      y: { value: HEIGHT - 46 - Math.min(5, 40 / cells.length) * turn },
    },
  }));
}
