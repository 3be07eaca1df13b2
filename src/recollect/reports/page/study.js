// A study's part of the page: words, toggles, figures and tables.

const WORDS = {
  d_model: "model width (d_model)",
  parameters: "parameters",
  valid_accuracy: "validation accuracy",
  valid_loss: "validation loss (nats)",
  train_loss: "training loss (nats)",
};
const wordsOf = (metric) => (metric === "loss" ? "test loss (nats)" : `test ${metric}`);

function studySection(first, number) {
  let study = first;
  const state = {
    off: { mixer: new Set(), task: new Set() },
    test: { x: "d_model", metric: "accuracy", logX: true, logY: false },
    rates: { logX: true, logY: false },
    training: { measure: "valid_accuracy", logX: false, logY: false },
  };
  const words = el("div", { class: "words" });
  const toggles = el("div", { class: "toggles" });
  const recipe = el("details", { class: "recipe" });
  const [test, rates, training] = [
    figureSection("Test results", "Means over seeds; bars reach from the lowest seed to the highest. Points of one width stand side by side. Hollow points, which no line joins, have not learnt in the budget. The dotted line is the chance level."),
    figureSection("Learning rates", "Validation accuracy, mean over seeds. A ring marks the chosen rate, the strip at the foot the window of working rates. Hollow points: not every seed ended there, trials failed, or the cell has not learnt. Small points: seeds of the search alone."),
    figureSection("Training", "A line for each reported seed at the chosen rate, to six digits."),
  ];
  const open = (place, point = {}) => openDetails(study, place, point, findTrials);
  const openPoint = (point) => open(point.place, point);
  const cellTable = dataTable(`Cells of ${study.name}`, "d_model", (place) => open(place));
  const trialTable = dataTable(`Trials of ${study.name}`, "seed", (place) => {
    const key = study.trialTable.headings.indexOf("key");
    open(study.trialCells[place], { trial: study.trialTable.rows[place][key] });
  });
  const section = el(
    "section",
    { id: `study-${number}`, "aria-labelledby": `name-${number}`, class: "study" },
    el("h1", { id: `name-${number}` }, study.name),
    words,
    toggles,
    test.element,
    el("section", {}, el("h2", {}, "Cells"), cellTable.element),
    rates.element,
    training.element,
    el("section", { class: "trials" }, el("h2", {}, "Trials"), trialTable.element),
    recipe,
  );

  function findTrials(cell) {
    const trial = study.trialCells.indexOf(study.cells.indexOf(cell));
    trialTable.find(trial < 0 ? "" : `"${study.trialTable.rows[trial].slice(0, 4).join(" ")} "`);
  }

  const isOn = (cell) => !state.off.mixer.has(cell.mixer) && !state.off.task.has(cell.task);
  const cellsOn = () =>
    study.cells.map((cell, place) => ({ cell, place })).filter(({ cell }) => isOn(cell));

  function toggleGroup(kind, legend, items) {
    const draw = () => {
      group.replaceChildren(el("legend", {}, legend), ...items.map(box), ...(items.length > 1 ? all : []));
    };
    const set = (labels) => {
      state.off[kind] = new Set(labels);
      draw();
      refresh();
    };
    const button = (text, labels) => el("button", { type: "button", onclick: () => set(labels) }, text);
    const all = [button("All", []), button("None", items.map((item) => item.label))];
    const box = ({ label, text, sign }) =>
      tick(text, !state.off[kind].has(label), (on) => {
        state.off[kind][on ? "delete" : "add"](label);
        refresh();
      }, sign);
    const group = el("fieldset");
    draw();
    return group;
  }

  function drawToggles() {
    study.mixers.forEach((mixer, place) => {
      section.style.setProperty(`--m${place}`, `light-dark(${mixer.light}, ${mixer.dark})`);
    });
    const mixers = study.mixers.map((mixer, place) => ({
      label: mixer.label,
      text: mixer.title,
      sign: swatch(mixer, `var(--m${place})`),
    }));
    const tasks = [...new Set(study.cells.map((cell) => cell.task))];
    toggles.replaceChildren(
      toggleGroup("mixer", "Mixers", mixers),
      toggleGroup("task", "Tasks", tasks.map((label) => ({ label, text: label }))),
    );
  }

  // Cells in panels, by what the function says of them, in the order of the study.
  function inPanels(titleOf) {
    const panels = new Map();
    for (const each of cellsOn()) {
      const title = titleOf(each.cell);
      panels.set(title, [...(panels.get(title) || []), each]);
    }
    return [...panels];
  }

  const placeTitle = (cell) => `${cell.task}, d_model ${cell.d_model}, ${many(cell.n_layers, "layer")}`;
  const chancesOf = (cells, log) => [...new Set(cells.map(({ cell }) => cell.chance))].filter((chance) => chance > 0 || !log);
  const share = (log) => (log ? null : [0, 1]);

  function drawTest() {
    const { x, metric, logX, logY } = state.test;
    const isAccuracy = metric === "accuracy";
    test.show(inPanels((cell) => cell.task).map(([task, cells]) => {
      const xs = [...new Set(cells.map(({ cell }) => cell[x]).filter((value) => value != null))].sort((a, b) => a - b);
      const points = testPoints(study, cells, x, metric);
      const axes = {
        x: { title: WORDS[x], log: logX, base: 2, ...(x === "d_model" ? { ticks: xs, domain: around(xs, logX) } : { format: "~s" }) },
        y: { title: wordsOf(metric), log: logY, domain: isAccuracy ? share(logY) : null },
      };
      const chances = isAccuracy ? chancesOf(cells, logY) : [];
      return xs.length === 1
        ? { title: task, points, axes: { x: { log: false }, y: axes.y }, spec: (fit) => ranking(fit, axes.y, chances) }
        : { title: task, points, axes, spec: (fit) => chart([chanceLine(chances), lines(fit.filter((p) => !p.hollow), 1.5), bars(fit), marks(fit)], axes) };
    }), openPoint, sideBySide);
  }

  function drawRates() {
    const { logX, logY } = state.rates;
    const y = { title: "validation accuracy", log: logY, domain: share(logY) };
    rates.show(inPanels(placeTitle).map(([title, cells]) => {
      const points = ratePoints(study, new Set(cells.map(({ place }) => place)));
      const ticks = logX && points.length ? decades(points) : null;
      const axes = { x: { title: "learning rate", log: logX, format: ".0e", ticks }, y };
      const open = cells.map(({ cell }) => cell).filter((cell) => cell.window_low != null);
      const joined = (fit) => fit.filter((point) => !point.stuck && !point.small);
      const layers = (fit) => [chanceLine(chancesOf(cells, logY)), ...windows(open, (cell) => lookOf(study, cell)), lines(joined(fit), 1.5), bars(fit), rings(fit.filter((point) => point.chosen)), marks(fit)];
      return { title, points, axes, spec: (fit) => chart(layers(fit), axes) };
    }), openPoint);
  }

  function drawTraining() {
    const { measure, logX, logY } = state.training;
    const isAccuracy = measure === "valid_accuracy";
    const axes = {
      x: { title: "optimiser steps", log: logX, format: "~s" },
      y: { title: WORDS[measure], log: logY, domain: isAccuracy ? share(logY) : null },
    };
    training.show(inPanels(placeTitle).map(([title, cells]) => {
      const courses = trainingPoints(study, new Set(cells.map(({ place }) => place)), measure);
      const points = courses.map(({ last }) => last).filter(Boolean);
      const way = courses.flatMap(({ course }) => course);
      const chances = isAccuracy ? chancesOf(cells, logY) : [];
      const layers = (fit) => [chanceLine(chances), lines(way.filter((point) => fits(point, axes)), 1), marks(fit)];
      return { title, points, further: way, axes, spec: (fit) => chart(layers(fit), axes) };
    }), openPoint);
  }

  function refresh() {
    drawTest();
    drawRates();
    drawTraining();
    cellTable.update(study.cellTable, (place) => isOn(study.cells[place]));
    trialTable.update(study.trialTable, (place) => isOn(study.cells[study.trialCells[place]]));
  }

  function controls() {
    const change = (figure, name, draw) => (value) => {
      state[figure][name] = value;
      draw();
    };
    const logs = (figure, draw) =>
      ["X", "Y"].map((axis) => tick(`log ${axis.toLowerCase()}`, state[figure][`log${axis}`], change(figure, `log${axis}`, draw)));
    const pairs = (names, textOf) => names.map((name) => [name, textOf(name)]);
    test.controls.replaceChildren(
      choice("Show", pairs(study.metrics, wordsOf), state.test.metric, change("test", "metric", drawTest)),
      choice("over", pairs(["d_model", "parameters"], (name) => WORDS[name]), state.test.x, change("test", "x", drawTest)),
      ...logs("test", drawTest),
    );
    rates.controls.replaceChildren(...logs("rates", drawRates));
    training.controls.replaceChildren(
      choice("Show", pairs(["valid_accuracy", "valid_loss", "train_loss"], (name) => WORDS[name]), state.training.measure, change("training", "measure", drawTraining)),
      ...logs("training", drawTraining),
    );
  }

  function update(newStudy) {
    const shape = (each) => JSON.stringify([each.mixers, each.metrics, each.cells.map((cell) => cell.task)]);
    const isNew = newStudy === study || shape(newStudy) !== shape(study);
    study = newStudy;
    words.replaceChildren(
      ...study.summary.map((line) => el("p", {}, unbroken(line))),
      ...study.notes.map((line) => el("p", { class: "note" }, line)),
    );
    recipe.replaceChildren(el("summary", {}, "Recipe: the settings that all cells share"), settingsList(study.settings));
    if (isNew) {
      drawToggles();
      controls();
    }
    refresh();
  }

  update(first);
  return { element: section, update };
}
