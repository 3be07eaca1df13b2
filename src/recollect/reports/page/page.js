// The page: a part for each study or each reproduction, the theme, and updates if a server sends them.

const EVERY = 2000;

function start() {
  const given = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const status = document.getElementById("status");
  const parts = (given.studies || []).map((study, number) => studySection(study, number, 1));
  const shown = given.reproductions
    ? reproductionsPage(given.reproductions)
    : parts.map((part) => part.element);
  main.replaceChildren(...shown);
  const sections = [...main.querySelectorAll(given.reproductions ? ".reproduction" : ".study")];
  const names = given.reproductions ? given.reproductions.entries : given.studies;
  if (sections.length > 1) {
    const links = sections.map(({ id }, place) => el("a", { href: `#${id}` }, names[place].name));
    document.getElementById("contents").replaceChildren(...links);
  }
  const theme = document.getElementById("theme");
  theme.addEventListener("change", () => {
    document.documentElement.style.colorScheme = theme.value;
  });
  performance.mark("recollect-built");
  if (given.stand !== null) follow(given.stand, given.studies);

  async function follow(stand, studies) {
    try {
      const answer = await fetch(`data.json?stand=${encodeURIComponent(stand)}`);
      if (!answer.ok) throw new Error(await answer.text());
      if (answer.status !== 204) {
        const newer = await answer.json();
        newer.studies.forEach((study, number) => parts[number].update(study));
        [stand, studies] = [newer.stand, newer.studies];
      }
      status.textContent = `Live: ${studies.map(progress).join("; ")}`;
    } catch (error) {
      status.textContent = `Not live: ${error.message}`;
    }
    setTimeout(follow, EVERY, stand, studies);
  }
}

function progress(study) {
  const done = study.cells.filter((cell) => cell.finished).length;
  const [cells, trials] = [study.cells.length, study.trialCells.length];
  return `${study.name} ${done} of ${many(cells, "cell")} finished, ${many(trials, "trial")}`;
}

start();
