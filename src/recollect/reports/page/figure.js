// Panels of a figure; visible ones are drawn first, the others when the browser is idle.

const waiting = new Map();
const sight = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawNow(entry.target)),
  { rootMargin: "200px" },
);
const whenIdle = window.requestIdleCallback || ((call) => setTimeout(call, 50));

function drawNow(place) {
  const draw = waiting.get(place);
  waiting.delete(place);
  sight.unobserve(place);
  return draw && place.isConnected ? draw() : null;
}

let isDrawingRest = false;
async function drawRest() {
  const [place] = waiting.keys();
  isDrawingRest = place !== undefined;
  if (!isDrawingRest) return;
  await drawNow(place);
  whenIdle(drawRest);
}

const KEYS = "Arrow keys move between them, Enter shows the details of one.";

// A panel with a title. Arrow keys move between its points, Enter opens one.
function panel(title, spec, points, openPoint, patch) {
  const place = el("div", {
    class: "plot",
    role: "application",
    tabindex: 0,
    "aria-label": `${title}: ${many(points.length, "point")}. ${KEYS}`,
  });
  const said = el("output", { class: "said" });
  let view = null;
  let at = -1;
  const go = (to) => {
    at = (to + points.length) % points.length;
    said.textContent = points[at].said;
    if (view) view.signal("at", at).run();
  };
  place.addEventListener("keydown", (event) => {
    if (!points.length) return;
    if (event.key === "ArrowRight" || event.key === "ArrowDown") go(at + 1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowUp") go(at < 0 ? -1 : at - 1);
    else if (event.key === "Enter" && at >= 0) openPoint(points[at]);
    else return;
    event.preventDefault();
  });
  place.addEventListener("blur", () => {
    said.textContent = "";
    if (view) view.signal("at", -1).run();
  });
  waiting.set(place, async () => {
    const shown = el("div", { class: "drawn", "aria-hidden": "true" });
    place.append(shown);
    const made = await vegaEmbed(shown, spec, {
      renderer: "svg",
      actions: false,
      patch,
      tooltip: { disableDefaultStyle: true },
    });
    view = made.view;
    view.addEventListener("click", (_, item) => {
      if (item && item.datum && item.datum.row !== undefined) openPoint(points[item.datum.row]);
    });
    performance.mark("recollect-drawn");
  });
  sight.observe(place);
  if (!isDrawingRest) {
    isDrawingRest = true;
    whenIdle(drawRest);
  }
  return el("figure", { class: "panel" }, el("figcaption", {}, title), place, said);
}

// A figure: its controls, its caption, and a grid of panels.
function figureSection(heading, caption) {
  const controls = el("div", { class: "controls" });
  const grid = el("div", { class: "grid" });
  const lost = el("output", { class: "note" });
  const words = el("p", { class: "caption" }, caption);
  const element = el("section", {}, heading, words, controls, lost, grid);

  // Each panel has a title, points and axes, and makes its specification from the points that fit;
  // `patch` changes the compiled specification.
  function show(panels, openPoint, patch = (compiled) => compiled) {
    let out = 0;
    const drawn = panels.flatMap(({ title, points, further, axes, spec }) => {
      const inside = points.filter((point) => fits(point, axes));
      const fit = inside.map((point, row) => ({ ...point, row }));
      const cut = fit.filter((point) => axes.y.log && point.low <= 0);
      cut.forEach((point) => Object.assign(point, { low: point.y }));
      const others = (further || []).filter((point) => !fits(point, axes));
      out += points.length - fit.length + cut.length + others.length;
      return fit.length ? [panel(title, spec(fit), fit, openPoint, patch)] : [];
    });
    lost.textContent = out ? `${many(out, "value")} of 0 or less cannot be shown on a logarithmic axis.` : "";
    grid.replaceChildren(...(drawn.length ? drawn : [el("p", {}, "No results to draw.")]));
  }

  return { element, controls, show };
}
