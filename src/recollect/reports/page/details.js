// The details of a number: its cell, seeds, trials, settings and commands.

function terms(pairs) {
  const parts = pairs.filter(([, value]) => value != null && value !== "");
  return el("dl", {}, ...parts.flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, String(value))]));
}

function settingsList(settings) {
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return terms(Object.entries(settings).map(([name, value]) => [name, text(value)]));
}

function command(text) {
  const copy = el("button", { type: "button", onclick: () => navigator.clipboard.writeText(text) }, "Copy");
  return el("p", { class: "command" }, el("code", {}, text), navigator.clipboard ? copy : null);
}

const OF_A_CELL = ["seed", "learning rate", "status", "valid accuracy", "test accuracy", "key"];

// A column of the trials with all digits: its heading, and its text by the place of a trial.
function exactly({ trialTable }, heading) {
  const { headings, rows, values } = trialTable;
  const column = headings.indexOf(heading);
  const digits = (place) => {
    const number = values[column] && values[column][place];
    return number == null || heading === "seed" ? rows[place][column] : String(number);
  };
  return [heading, digits];
}

function trialList(places, columns) {
  const body = places.map((place) =>
    el("tr", {}, ...columns.map(([, textOf]) => el("td", {}, textOf(place)))),
  );
  const head = el("tr", {}, ...columns.map(([heading]) => el("th", { scope: "col" }, heading)));
  const table = el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
  return el("div", { class: "wide", role: "region", tabindex: 0, "aria-label": "Trials" }, table);
}

function measured(study, cell) {
  return study.metrics.map((metric) => {
    const [mean, low, high] = ["", "_min", "_max"].map((end) => cell[`test_${metric}${end}`]);
    if (mean == null) return [metric, null];
    return [`test ${metric}, mean`, low == null ? mean : `${mean} (seeds from ${low} to ${high})`];
  });
}

function trialsBehind(study, place, point) {
  const all = study.trialCells.flatMap((cell, trial) => (cell === place ? [trial] : []));
  if (point.trial) {
    const column = study.trialTable.headings.indexOf("key");
    return all.filter((trial) => study.trialTable.rows[trial][column] === point.trial);
  }
  if (point.rate === undefined) return all.filter((trial) => study.reported[trial]);
  const { headings, rows, values } = study.trialTable;
  const [rate, seed] = ["learning rate", "seed"].map((heading) => headings.indexOf(heading));
  const at = all.filter((trial) => values[rate][trial] === point.rate);
  const reported = at.filter((trial) => !rows[trial][seed].endsWith("(search)"));
  return reported.length ? reported : at;
}

function cellTerms(study, cell) {
  return terms([
    ["state", cell.finished ? "finished" : "not finished"],
    ["has left the initial plateau", cell.stuck ? "no" : null],
    ["chosen learning rate", cell.learning_rate],
    ["the best rate may lie beyond those tried", cell.at_edge ? "yes" : null],
    ["window of working rates, decades", cell.window],
    ["seeds", cell.seeds],
    ...measured(study, cell),
    ["chance level of accuracy", cell.chance],
    ["steps, mean", cell.steps],
    ["parameters", cell.parameters],
  ]);
}

// Opens the dialogue of a cell; a point may show one rate (`rate`) or one trial of it.
function openDetails(study, place, point, findTrials) {
  const cell = study.cells[place];
  const behind = trialsBehind(study, place, point);
  const here = () => {
    document.getElementById("details").close();
    findTrials(cell);
  };
  const name = `${nameOf(study, cell)}, ${cell.task}`;
  const made = cell.complete
    ? "This command trains it (stored trials are not run again):"
    : "No shipped study has these settings: the study is your own, or was changed with --set. Use this" +
      " command with the function of the study and the same --set:";
  const parts = [
    point.said && el("p", { class: "said" }, point.said),
    el("h3", {}, `The ${many(behind.length, "trial")} behind it`),
    trialList(behind, OF_A_CELL.map((heading) => exactly(study, heading))),
    el("button", { type: "button", onclick: here }, "All trials of this cell"),
    el("h3", {}, "The cell, at its chosen rate"),
    cellTerms(study, cell),
    el("h3", {}, "Commands"),
    el("p", {}, "This prints every trial:"),
    command(study.show),
    el("p", {}, made),
    command(cell.command),
    el("h3", {}, "Recipe"),
    settingsList(cell.settings),
    el("details", {}, el("summary", {}, "Settings that all cells share"), settingsList(study.settings)),
  ];
  openDialog(name, ...parts);
}

function openDialog(title, ...parts) {
  const dialog = document.getElementById("details");
  const close = el("button", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(el("h2", { id: "details-title" }, title), ...parts.filter(Boolean), close);
  dialog.showModal();
}
