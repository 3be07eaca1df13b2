// Claims of papers with their verdicts, and the trials behind each number.

const SIGNS = { reproduced: "✓", contradicted: "✗", undecided: "?", "not run": "–" };

// The sign is for the eye; the word alone is read aloud.
function verdictMark(verdict) {
  const sign = el("span", { "aria-hidden": "true" }, SIGNS[verdict] + " ");
  return el("span", { class: `verdict ${verdict.replace(" ", "-")}` }, sign, verdict);
}

// What was measured, what would decide the claim, and what was left out.
function evidence(claim) {
  const remarks = [
    claim.decides && ["To decide it", claim.decides],
    ...claim.left_out.map((text) => ["Not judged", text]),
  ];
  return [
    el("ul", {}, ...claim.found.map((text) => el("li", {}, unbroken(text)))),
    ...remarks.filter(Boolean).map((remark) => labelled(remark, "note")),
  ];
}

const labelled = ([label, text], kind) => el("p", { class: kind }, el("strong", {}, `${label}: `), unbroken(text));

// The roles keep it a table for screen readers where narrow pages show its cells as blocks.
function claimsTable(caption, claims, open) {
  const headings = ["claim", "verdict", "measured"].map((text) =>
    el("th", { scope: "col", role: "columnheader" }, text),
  );
  const rows = claims.map((claim) => {
    const name = `Trials behind: ${claim.sentence}`;
    const button = el("button", { type: "button", "aria-label": name, onclick: () => open(claim) }, "Trials");
    return el(
      "tr",
      { role: "row" },
      el("th", { scope: "row", role: "rowheader" }, claim.sentence, el("p", { class: "note" }, claim.source)),
      el("td", { role: "cell" }, verdictMark(claim.verdict)),
      el("td", { role: "cell" }, ...evidence(claim), button),
    );
  });
  return el(
    "table",
    { class: "claims", role: "table" },
    el("caption", {}, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...headings)),
    el("tbody", { role: "rowgroup" }, ...rows),
  );
}

// A table for each study that has some of these trials.
function trialTables(entry, trials) {
  const left = new Set(Object.keys(trials));
  const tables = entry.studies.flatMap((study) => {
    const [, keyOf] = exactly(study, "key");
    const places = study.trialTable.rows.map((_, place) => place).filter((place) => left.delete(keyOf(place)));
    return places.length ? [trialList(places, trialColumns(entry, study, (place) => trials[keyOf(place)]))] : [];
  });
  const missing = [...left].map((key) => el("p", {}, `${key}, which no table of this page has`));
  return [...tables, ...missing];
}

function trialColumns({ columns, metric }, study, trialAt) {
  const [rate, rateOf] = exactly(study, "learning rate");
  const starred = (place) => rateOf(place) + (trialAt(place).chosen ? "*" : "");
  const value = (place) => String(trialAt(place).value ?? "-");
  const exact = (headings) => headings.map((heading) => exactly(study, heading));
  return [
    ...exact(["key", "seed"]),
    [rate, starred],
    ...exact(["status", ...columns]),
    ...(metric ? [[metric, value]] : []),
    ...exact(["task", "mixer", "layers", "d_model"]),
  ];
}

// The dialogue of a row of a table.
function openRow(entry, title, trials) {
  const tables = trialTables(entry, trials);
  const found = tables.length ? [el("p", {}, entry.behind), ...tables] : [el("p", {}, "Not measured.")];
  openDialog(title, ...found, ...commands(entry));
}

// The dialogue of a claim: its tested parts, and each number with its trials.
function openClaim(entry, claim) {
  const parts = claim.parts.map(({ sentence, state }) =>
    el("li", {}, `${unbroken(sentence)}: `, el("strong", {}, state)),
  );
  const numbers = claim.numbers.map(({ name, text, trials }) =>
    el("details", {}, el("summary", {}, `${unbroken(name)}: ${text}`), ...trialTables(entry, trials)),
  );
  const heading = el("h3", {}, `Numbers (${entry.spread}) and their trials`);
  openDialog(
    claim.sentence,
    el("p", {}, verdictMark(claim.verdict), ` at level ${Number((100 * claim.level).toPrecision(3))} % (${claim.source})`),
    el("h3", {}, "What is tested"),
    el("ul", {}, ...parts),
    el("h3", {}, "What was found"),
    ...evidence(claim),
    ...(numbers.length ? [heading, el("p", {}, entry.behind), ...numbers] : []),
    ...commands(entry),
  );
}

function commands({ studies, command: run }) {
  return [
    el("h3", {}, "Commands"),
    ...(studies.length ? [el("p", {}, "This prints every trial:")] : []),
    ...studies.map((study) => command(study.show)),
    el("p", {}, "This runs the experiment (stored trials are not run again):"),
    command(run),
  ];
}
