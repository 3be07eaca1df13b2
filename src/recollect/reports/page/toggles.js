// Checkboxes that hide mixers and tasks in figures and tables.

// `off` has the hidden labels by kind; `changed` is called after a change.
function toggleGroup(legend, items, off, changed) {
  const group = el("fieldset");
  const set = (labels) => {
    off.clear();
    labels.forEach((label) => off.add(label));
    draw();
    changed();
  };
  const flip = (label, isOn) => {
    off[isOn ? "delete" : "add"](label);
    changed();
  };
  const button = (text, labels) =>
    el("button", { type: "button", onclick: () => set(labels) }, text);
  function draw() {
    const boxes = items.map(({ label, text, sign }) =>
      tick(text, !off.has(label), (isOn) => flip(label, isOn), sign),
    );
    const labels = items.map((item) => item.label);
    const all = items.length > 1 ? [button("All", []), button("None", labels)] : [];
    group.replaceChildren(el("legend", {}, legend), ...boxes, ...all);
  }
  draw();
  return group;
}

// The mixers with their lines; their colours become CSS variables of the element.
function mixerToggles(study, element, off, changed) {
  study.mixers.forEach((mixer, place) => {
    element.style.setProperty(`--m${place}`, `light-dark(${mixer.light}, ${mixer.dark})`);
  });
  const items = study.mixers.map((mixer, place) => ({
    label: mixer.label,
    text: mixer.title,
    sign: swatch(mixer, `var(--m${place})`),
  }));
  return toggleGroup("Mixers", items, off, changed);
}

function taskToggles(study, off, changed) {
  const labels = [...new Set(study.cells.map((cell) => cell.task))];
  return toggleGroup("Tasks", labels.map((label) => ({ label, text: label })), off, changed);
}
