// The page of reproductions: an overview of all claims, then a part for each reproduction.

function reproductionsPage({ about, command: run, entries }) {
  const numbers = new Map(entries.flatMap((entry) => entry.studies).map((study, number) => [study, number]));
  const all = entries.flatMap((entry) => entry.claims.map((claim) => ({ entry, claim })));
  const overview = dataTable("Claims", "claim", (place) => openClaim(all[place].entry, all[place].claim));
  const rows = all.map(({ entry, claim }) => [entry.name, claim.sentence, claim.verdict]);
  const headings = ["reproduction", "claim", "verdict"];
  overview.update({ headings, rows, values: headings.map(() => null) }, () => true);
  return [
    el("h1", {}, "Reproductions"),
    ...about.map((text) => el("p", {}, text)),
    command(run),
    ...(entries.length > 1 ? [el("h2", {}, "All claims"), overview.element] : []),
    ...entries.map((entry, place) => reproductionSection(entry, place, numbers)),
  ];
}

function reproductionSection(entry, place, numbers) {
  const id = `reproduction-${place}`;
  const alt = `Figure of ${entry.name}; the tables have its numbers`;
  const figures = entry.figures.map(({ source, width }) => el("img", { src: source, width, alt }));
  const table = (caption, its) => {
    const open = (row) => openRow(entry, its.rows[row][0], its.trials[row]);
    const made = dataTable(caption, its.headings[0], open);
    made.update(its, () => true);
    return made.element;
  };
  const models = entry.language.map((each) =>
    typeof each === "string" ? el("p", {}, unbroken(each)) : table("Language models", each),
  );
  const beside = entry.published && [
    el("h3", {}, "Beside the printed numbers"),
    table("Measured and printed numbers", entry.published),
  ];
  const widths = entry.widths && [
    el("h3", {}, "Widths"),
    el("p", {}, entry.widths.about),
    table("Smallest widths that solve the task", entry.widths),
  ];
  return el(
    "section",
    { id, class: "reproduction", "aria-labelledby": `${id}-name` },
    el("h2", { id: `${id}-name` }, entry.title),
    el("p", {}, `${entry.paper} Reproduction ${entry.name}.`),
    entry.differs && labelled(entry.differs),
    command(entry.command),
    el("h3", {}, "Claims"),
    claimsTable(`Claims of ${entry.name}`, entry.claims, (claim) => openClaim(entry, claim)),
    el("div", { class: "drawings" }, ...figures),
    ...(beside || []),
    ...(widths || []),
    ...(models.length ? [el("h3", {}, "Language models"), ...models] : []),
    el("p", { class: "note" }, entry.time),
    ...entry.studies.map((study) => studySection(study, numbers.get(study), 3).element),
  );
}
