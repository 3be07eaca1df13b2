// Elements of the page. Texts become text nodes: a name is never read as HTML.
"use strict";

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

// The markers that Vega knows by name, in about the same size.
const SHAPES = {
  circle: "M0,-1A1,1,0,1,1,0,1A1,1,0,1,1,0,-1Z",
  square: "M-0.9,-0.9H0.9V0.9H-0.9Z",
  "triangle-up": "M0,-1L1,0.8H-1Z",
  "triangle-down": "M0,1L1,-0.8H-1Z",
  "triangle-left": "M-1,0L0.8,1V-1Z",
  "triangle-right": "M1,0L-0.8,1V-1Z",
  diamond: "M0,-1.2L0.9,0L0,1.2L-0.9,0Z",
  cross: "M-0.35,-1H0.35V-0.35H1V0.35H0.35V1H-0.35V0.35H-1V-0.35H-0.35Z",
};

const svgName = "http://www.w3.org/2000/svg";

// The line and marker of a mixer, as in the figures.
function swatch(mixer, colour) {
  const drawn = document.createElementNS(svgName, "svg");
  drawn.setAttribute("viewBox", "-12 -7 24 14");
  drawn.setAttribute("class", "swatch");
  drawn.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(svgName, "path");
  line.setAttribute("d", "M-12,0H12");
  line.setAttribute("stroke", colour);
  const marker = document.createElementNS(svgName, "path");
  marker.setAttribute("d", SHAPES[mixer.shape] || mixer.shape);
  marker.setAttribute("transform", "scale(4.5)");
  marker.setAttribute("fill", colour);
  drawn.append(line, marker);
  return drawn;
}

// A labelled checkbox; `change` is called with true if it is checked.
function tick(text, checked, change, sign) {
  const box = el("input", { type: "checkbox", onchange: (event) => change(event.target.checked) });
  box.checked = checked;
  return el("label", { class: "tick" }, box, sign || null, text);
}

// A labelled menu; `choices` are pairs of value and text.
function choice(text, choices, value, change) {
  const options = choices.map(([key, words]) => el("option", { value: key }, words));
  const list = el("select", { onchange: (event) => change(event.target.value) }, ...options);
  list.value = value;
  return el("label", {}, text + " ", list);
}

const many = (number, noun) => number.toLocaleString("en") + " " + noun + (number === 1 ? "" : "s");

// Three decimals; 1.000 only for 1. Losses and other metrics have three digits; 1 only from 1 on.
function short(value, metric) {
  if (value == null) return "-";
  if (metric !== "accuracy") {
    const text = Number(value.toPrecision(3)).toString();
    return text === "1" && value < 1 ? "0.999" : text;
  }
  const text = value.toFixed(3);
  return text === "1.000" && value < 1 ? "0.999" : text;
}

// A learning rate as Recollect prints it: 3e-4, 4.64e-3.
function rateText(rate) {
  if (rate == null) return "-";
  return Number(rate.toPrecision(3)).toExponential().replace("+", "");
}

// For prose: a learning rate such as 1e-4 is not broken at its hyphen.
const unbroken = (text) => text.replace(/(\de)-(?=\d)/g, "$1\u2011");
