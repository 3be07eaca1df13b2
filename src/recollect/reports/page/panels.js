// The panels of each figure, for `figureSection`. `cells` are the cells that the toggles leave, each
// with its place in the study.

const WORDS = {
  d_model: "model width (d_model)",
  parameters: "parameters",
  valid_accuracy: "validation accuracy",
  valid_loss: "validation loss (nats)",
  train_loss: "training loss (nats)",
};
const testWords = (metric) => (metric === "loss" ? "test loss (nats)" : `test ${metric}`);
const placeTitle = (cell) =>
  `${cell.task}, d_model ${cell.d_model}, ${many(cell.n_layers, "layer")}`;

// The cells in panels by their titles, in the order of the study.
function inPanels(cells, titleOf) {
  const panels = new Map();
  for (const each of cells) {
    const title = titleOf(each.cell);
    panels.set(title, [...(panels.get(title) || []), each]);
  }
  return [...panels];
}

const placesOf = (cells) => new Set(cells.map(({ place }) => place));

function chancesOf(cells, log) {
  const chances = [...new Set(cells.map(({ cell }) => cell.chance))];
  return chances.filter((chance) => chance > 0 || !log);
}

// Accuracy axes go from 0 to 1; other axes fit their values.
const domainOf = (isAccuracy, log) => (isAccuracy && !log ? [0, 1] : null);

function testPanels(study, cells, { x, metric, logX, logY }) {
  const isAccuracy = metric === "accuracy";
  const y = { title: testWords(metric), log: logY, domain: domainOf(isAccuracy, logY) };
  return inPanels(cells, (cell) => cell.task).map(([title, its]) => {
    const points = testPoints(study, its, x, metric);
    const chances = isAccuracy ? chancesOf(its, logY) : [];
    const xs = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b);
    if (xs.length === 1) {
      const spec = (fit) => ranking(fit, y, chances);
      return { title, points, axes: { x: { log: false }, y }, spec };
    }
    const widths = x === "d_model" && { ticks: xs, domain: around(xs, logX) };
    const axes = { x: { title: WORDS[x], log: logX, base: 2, format: "~s", ...widths }, y };
    const learnt = (fit) => fit.filter((point) => !point.hollow);
    const layers = (fit) => [
      chanceLine(chances),
      lines(learnt(fit), 1.5),
      bars(fit),
      marks(fit),
    ];
    return { title, points, axes, spec: (fit) => chart(layers(fit), axes) };
  });
}

function ratePanels(study, cells, { logX, logY }) {
  const y = { title: WORDS.valid_accuracy, log: logY, domain: domainOf(true, logY) };
  return inPanels(cells, placeTitle).map(([title, its]) => {
    const points = ratePoints(study, placesOf(its));
    const ticks = logX && points.length ? decades(points) : null;
    const axes = { x: { title: "learning rate", log: logX, format: logX ? ".0e" : "~e", ticks }, y };
    const withWindow = its.map(({ cell }) => cell).filter((cell) => cell.window_low != null);
    const joined = (fit) => fit.filter((point) => !point.stuck && !point.small);
    const layers = (fit) => [
      chanceLine(chancesOf(its, logY)),
      ...windows(withWindow, (cell) => lookOf(study, cell)),
      lines(joined(fit), 1.5),
      bars(fit),
      rings(fit.filter((point) => point.chosen)),
      marks(fit),
    ];
    return { title, points, axes, spec: (fit) => chart(layers(fit), axes) };
  });
}

function trainingPanels(study, cells, { measure, logX, logY }) {
  const isAccuracy = measure === "valid_accuracy";
  const axes = {
    x: { title: "optimiser steps", log: logX, format: "~s" },
    y: { title: WORDS[measure], log: logY, domain: domainOf(isAccuracy, logY) },
  };
  return inPanels(cells, placeTitle).map(([title, its]) => {
    const courses = trainingPoints(study, placesOf(its), measure);
    const points = courses.map(({ last }) => last).filter(Boolean);
    const further = courses.flatMap(({ course }) => course);
    const chances = isAccuracy ? chancesOf(its, logY) : [];
    const drawn = further.filter((point) => fits(point, axes));
    const layers = (fit) => [chanceLine(chances), lines(drawn, 1), marks(fit)];
    return { title, points, further, axes, spec: (fit) => chart(layers(fit), axes) };
  });
}
