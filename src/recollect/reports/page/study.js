// A study's part of the page: words, toggles, figures and tables.

const TEST_CAPTION =
  "Means over seeds; bars reach from the lowest seed to the highest. Points of one width are side by" +
  " side. Hollow points without a line have not learnt within the budget. The dashed line is the" +
  " chance level.";
const RATES_CAPTION =
  "Validation accuracy, mean over seeds. A ring marks the chosen rate, the strip at the bottom the" +
  " window of working rates. Hollow points: some seeds did not end, trials failed, or the cell has" +
  " not learnt. Small points: only seeds of the search.";
const TRAINING_CAPTION = "A line for each reported seed at the chosen rate, to six digits.";

// `level` is that of the heading of the study.
function studySection(first, number, level) {
  let study = first;
  const heading = (text, attributes) => el(`h${level}`, attributes, text);
  const lower = (text) => el(`h${level + 1}`, {}, text);
  const off = { mixer: new Set(), task: new Set() };
  const options = {
    test: { x: "d_model", metric: "accuracy", logX: true, logY: false },
    rates: { logX: true, logY: false },
    training: { measure: "valid_accuracy", logX: false, logY: false },
  };
  const words = el("div", { class: "words" });
  const toggles = el("div", { class: "toggles" });
  const recipe = el("details", { class: "recipe" });
  const figures = {
    test: figureSection(lower("Test results"), TEST_CAPTION),
    rates: figureSection(lower("Learning rates"), RATES_CAPTION),
    training: figureSection(lower("Training"), TRAINING_CAPTION),
  };
  const cellTable = dataTable(`Cells of ${study.name}`, "d_model", (place) => open(place, {}));
  const trialTable = dataTable(`Trials of ${study.name}`, "seed", openTrial);
  const section = el(
    "section",
    { id: `study-${number}`, "aria-labelledby": `name-${number}`, class: "study" },
    heading(level > 1 ? `Study ${study.name}` : study.name, { id: `name-${number}` }),
    words,
    toggles,
    figures.test.element,
    el("section", {}, lower("Cells"), cellTable.element),
    figures.rates.element,
    figures.training.element,
    el("section", { class: "trials" }, lower("Trials"), trialTable.element),
    recipe,
  );

  function open(place, point) {
    openDetails(study, place, point, findTrials);
  }

  function openTrial(trial) {
    const key = study.trialTable.headings.indexOf("key");
    open(study.trialCells[trial], { trial: study.trialTable.rows[trial][key] });
  }

  // Filters by the texts that the rows of a cell begin with.
  function findTrials(cell) {
    const trial = study.trialCells.indexOf(study.cells.indexOf(cell));
    const names = trial < 0 ? [] : study.trialTable.rows[trial].slice(0, 4);
    trialTable.find(names.length ? `"${names.join(" ")} "` : "");
  }

  const isOn = (cell) => !off.mixer.has(cell.mixer) && !off.task.has(cell.task);

  function draw(figure) {
    const cells = study.cells.map((cell, place) => ({ cell, place }));
    const left = cells.filter(({ cell }) => isOn(cell));
    const openPoint = (point) => open(point.place, point);
    if (figure === "test") {
      figures.test.show(testPanels(study, left, options.test), openPoint, sideBySide);
    } else {
      const panels = figure === "rates" ? ratePanels : trainingPanels;
      figures[figure].show(panels(study, left, options[figure]), openPoint);
    }
  }

  function refresh() {
    Object.keys(figures).forEach(draw);
    cellTable.update(study.cellTable, (place) => isOn(study.cells[place]));
    trialTable.update(study.trialTable, (trial) => isOn(study.cells[study.trialCells[trial]]));
  }

  function drawControls() {
    const change = (figure, name) => (value) => {
      options[figure][name] = value;
      draw(figure);
    };
    const logs = (figure) => [
      tick("log x", options[figure].logX, change(figure, "logX")),
      tick("log y", options[figure].logY, change(figure, "logY")),
    ];
    const list = (text, figure, name, values, textOf) => {
      const pairs = values.map((value) => [value, textOf(value)]);
      return choice(text, pairs, options[figure][name], change(figure, name));
    };
    const inWords = (name) => WORDS[name];
    const measures = ["valid_accuracy", "valid_loss", "train_loss"];
    figures.test.controls.replaceChildren(
      list("Show", "test", "metric", study.metrics, testWords),
      list("over", "test", "x", ["d_model", "parameters"], inWords),
      ...logs("test"),
    );
    figures.rates.controls.replaceChildren(...logs("rates"));
    figures.training.controls.replaceChildren(
      list("Show", "training", "measure", measures, inWords),
      ...logs("training"),
    );
  }

  // The choices of the controls.
  const choices = ({ mixers, metrics, cells }) =>
    JSON.stringify([mixers, metrics, cells.map((cell) => cell.task)]);

  function update(newer) {
    const isNew = newer === study || choices(newer) !== choices(study);
    study = newer;
    const lines = study.summary.map((line) => el("p", {}, unbroken(line)));
    const notes = study.notes.map((line) => el("p", { class: "note" }, line));
    words.replaceChildren(...lines, ...notes);
    const shared = el("summary", {}, "Recipe: the settings that all cells share");
    recipe.replaceChildren(shared, settingsList(study.settings));
    if (isNew) {
      toggles.replaceChildren(
        mixerToggles(study, section, off.mixer, refresh),
        taskToggles(study, off.task, refresh),
      );
      drawControls();
    }
    refresh();
  }

  update(first);
  return { element: section, update };
}
