// Converts a study's data into the points of its figures.

const DASHES = [[1, 0], [5, 3], [1, 2], [5, 2, 1, 2]];

// The look of a cell: the colour and marker of its mixer, the dashes of its depth.
function lookOf(study, cell) {
  const place = study.mixers.findIndex((mixer) => mixer.label === cell.mixer);
  const depths = [...new Set(study.cells.map((other) => other.n_layers))].sort((a, b) => b - a);
  return {
    colour: `var(--m${place})`,
    shape: study.mixers[place].shape,
    dash: DASHES[Math.min(depths.indexOf(cell.n_layers), DASHES.length - 1)],
  };
}

const titleOf = (study, cell) => study.mixers.find((mixer) => mixer.label === cell.mixer).title;

function nameOf(study, cell) {
  return `${titleOf(study, cell)}, d_model ${cell.d_model}, ${many(cell.n_layers, "layer")}`;
}

// The name of a cell in a ranking, where all cells have one width.
function rowName(study, cell) {
  const depths = new Set(study.cells.map((other) => other.n_layers));
  const title = titleOf(study, cell);
  return depths.size > 1 ? `${title}, ${many(cell.n_layers, "layer")}` : title;
}

const seriesOf = (cell) => `${cell.mixer}\n${cell.n_layers}`;

function range(low, high, metric) {
  return low == null || low === high ? "" : ` (${short(low, metric)} to ${short(high, metric)})`;
}

const BESIDE = 4; // pixels between points of one width, fewer if there are many
const ROOM = 24;

// Test results: one point per cell.
function testPoints(study, cells, x, metric) {
  const series = [...new Set(cells.map(({ cell }) => seriesOf(cell)))];
  const step = x === "d_model" ? Math.min(BESIDE, ROOM / series.length) : 0;
  const nudge = (cell) => step * (series.indexOf(seriesOf(cell)) - (series.length - 1) / 2);
  const values = (cell) => ["", "_min", "_max"].map((end) => cell[`test_${metric}${end}`]);
  return cells.flatMap(({ cell, place }) => {
    const [y, low, high] = values(cell);
    if (y == null || cell[x] == null) return [];
    const name = rowName(study, cell);
    const number = `${metric} ${short(y, metric)}${range(low, high, metric)}`;
    const state = cell.stuck ? "\nnot learnt in the budget" : "";
    const seeds = `test ${number}, ${many(cell.seeds, "seed")}`;
    const rate = `learning rate ${rateText(cell.learning_rate)}`;
    const said = `${nameOf(study, cell)}\n${seeds}\n${rate}${state}`;
    const ends = { low: low ?? y, high: high ?? y };
    const own = { place, name, x: cell[x], y, ...ends, nudge: nudge(cell) };
    const look = { hollow: cell.stuck, series: seriesOf(cell), ...lookOf(study, cell) };
    return [{ ...own, said, ...look }];
  });
}

// Validation accuracy over learning rate: one point per rate and cell.
function ratePoints(study, places) {
  return study.rates
    .filter((rate) => places.has(rate.cell) && rate.mean != null)
    .sort((a, b) => a.rate - b.rate)
    .map((rate) => {
      const cell = study.cells[rate.cell];
      const number = `${short(rate.mean, "accuracy")}${range(rate.low, rate.high, "accuracy")}`;
      const chosen = `learning rate ${rateText(rate.rate)}${rate.chosen ? ", chosen" : ""}`;
      const accuracy = `validation accuracy ${number}; ${rate.kind}`;
      const said = `${nameOf(study, cell)}\n${chosen}\n${accuracy}`;
      const small = rate.kind === "search seeds only";
      const hollow = rate.kind !== "all seeds ended" || cell.stuck;
      const own = { place: rate.cell, x: rate.rate, y: rate.mean, low: rate.low, high: rate.high };
      const marked = { said, small, hollow, chosen: rate.chosen, rate: rate.rate };
      return { ...own, ...marked, series: seriesOf(cell), ...lookOf(study, cell), stuck: cell.stuck };
    });
}

// The powers of ten within and around some rates.
function decades(points) {
  const logs = points.map((point) => Math.log10(point.x));
  const [least, most] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
  return Array.from({ length: most - least + 1 }, (_, at) => 10 ** (least + at));
}

// Training: the curve of each reported trial, with its last value as a point.
function trainingPoints(study, places, measure) {
  const courses = study.curves.filter((curve) => places.has(curve.cell));
  return courses.map((curve) => {
    const cell = study.cells[curve.cell];
    const own = { place: curve.cell, series: curve.key, hollow: cell.stuck, ...lookOf(study, cell) };
    const course = curve.step
      .map((step, at) => ({ ...own, x: step, y: curve[measure][at] }))
      .filter((point) => point.y != null);
    const last = course[course.length - 1];
    const metric = measure.endsWith("accuracy") ? "accuracy" : "loss";
    if (!last) return { course };
    const value = `seed ${curve.seed}, step ${last.x}: ${short(last.y, metric)}`;
    const said = `${nameOf(study, cell)}\n${value}`;
    const mark = { low: last.y, high: last.y, said, small: true, trial: curve.key };
    return { course, last: { ...last, ...mark } };
  });
}
