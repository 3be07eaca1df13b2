// A table that sorts by its headings, filters by words and "phrases", and shows some rows at a time.

const PART = 100;
const LONG = 32; // longer texts are wrapped

// `openRow` is called with the place of a row; the columns up to `naming` identify a row.
function dataTable(caption, naming, openRow) {
  const state = { table: null, kept: () => true, words: "", column: null, down: false, shown: PART };
  const said = el("output", { class: "count" });
  const filter = el("input", { type: "search", oninput: (event) => look(event.target.value) });
  const head = el("tr");
  const body = el("tbody");
  const more = el("button", { type: "button", class: "more", onclick: () => show(state.shown + 10 * PART) });
  const table = el("table", {}, el("caption", {}, caption), el("thead", {}, head), body);
  const wide = el("div", { class: "wide", role: "region", tabindex: 0, "aria-label": caption }, table);
  const bar = el("div", { class: "controls" }, el("label", {}, "Filter ", filter), said);
  const element = el("div", { class: "table" }, bar, wide, more);

  function look(words) {
    state.words = words;
    show(PART);
  }

  function show(count) {
    state.shown = count;
    fill();
  }

  function sortBy(column) {
    state.down = state.column === column ? !state.down : false;
    state.column = column;
    fill();
  }

  function headings() {
    const buttons = state.table.headings.map((heading, column) =>
      el("th", { scope: "col" }, el("button", { type: "button", onclick: () => sortBy(column) }, heading)),
    );
    head.replaceChildren(el("th", { scope: "col" }, "behind it"), ...buttons);
  }

  // The places of the rows that toggles and words leave, in the chosen order.
  function places() {
    const asked = state.words.toLowerCase().match(/"[^"]+"|\S+/g) || [];
    const words = asked.map((word) => word.replaceAll('"', ""));
    const found = state.table.rows.map((_, place) => place).filter((place) => state.kept(place));
    const left = found.filter((place) => words.every((word) => state.table.texts[place].includes(word)));
    return state.column === null ? left : left.sort(order(state.table, state.column, state.down));
  }

  function fill() {
    const left = places();
    const rows = left.slice(0, state.shown).map((place) => row(place));
    body.replaceChildren(...rows);
    said.textContent = `${left.length.toLocaleString("en")} of ${many(state.table.rows.length, "row")}`;
    more.hidden = left.length <= state.shown;
    more.textContent = `Show more rows (${(left.length - rows.length).toLocaleString("en")} are not shown)`;
    [...head.children].slice(1).forEach((cell, column) => {
      const isIt = column === state.column;
      if (isIt) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  }

  function row(place) {
    const texts = state.table.rows[place];
    const name = "Details of " + texts.slice(0, state.table.headings.indexOf(naming) + 1).join(" ");
    const open = el("button", { type: "button", "aria-label": name, onclick: () => openRow(place) }, "Show");
    const kind = (text, column) => {
      if (text.length > LONG) return "long";
      return state.table.values[column] ? "number" : null;
    };
    const cells = texts.map((text, column) => {
      const its = kind(text, column);
      return el("td", { class: its }, its === "long" ? unbroken(text) : text);
    });
    return el("tr", {}, el("td", {}, open), ...cells);
  }

  function update(newTable, kept) {
    const texts = newTable.rows.map((texts) => texts.join(" ").toLowerCase());
    const isNew = state.table === null || String(state.table.headings) !== String(newTable.headings);
    Object.assign(state, { table: { ...newTable, texts }, kept });
    if (isNew) {
      state.column = null;
      headings();
    }
    fill();
  }

  // Shows the rows with some words, and scrolls to the table.
  function find(words) {
    filter.value = words;
    look(words);
    element.scrollIntoView({ block: "start" });
    filter.focus({ preventScroll: true });
  }

  return { element, update, find };
}

// Sorts by exact numbers if a column has them; missing values always come last.
function order(table, column, down) {
  const values = table.values[column];
  const sign = down ? -1 : 1;
  const words = new Intl.Collator("en", { numeric: true });
  const compare = values
    ? (a, b) => values[a] - values[b]
    : (a, b) => words.compare(table.rows[a][column], table.rows[b][column]);
  const missing = (place) => (values ? values[place] == null : table.rows[place][column] === "-");
  return (a, b) => missing(a) - missing(b) || (missing(a) ? 0 : sign * compare(a, b)) || a - b;
}
