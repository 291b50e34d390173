// The page: a pane for each slide, the link between them, buttons and keys.

import { planeWidths } from "./frame.js";
import { Link } from "./link.js";
import { Pane } from "./pane.js";

const sections = [...document.querySelectorAll(".pane")];
const slides = sections.map((section) => JSON.parse(section.dataset.slide));
const widths = planeWidths(slides);
const panes = sections.map((section, i) => new Pane(section, slides[i], widths[i]));
const link = new Link(panes);
const linkedBox = document.querySelector("#linked"); // there are none if there is one slide

const ACTIONS = {
  in: () => link.leader.zoomIn(),
  out: () => link.leader.zoomOut(),
  whole: () => link.fit(),
  pixels: () => link.leader.showPixels(),
  link: () => linkedBox?.click(),
};
const KEYS = { "+": "in", "=": "in", "-": "out", "_": "out", 0: "whole", Home: "whole", 1: "pixels", l: "link", L: "link" };

for (const pane of panes) {
  for (const button of pane.section.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => {
      link.lead(pane);
      ACTIONS[button.dataset.do]();
    });
  }
  // OpenSeadragon has keys of its own. Its arrows are kept; those that zoom are read here, by what is written on them, and
  // those that turn or flip a slide would put panes out of step.
  pane.viewer.addHandler("canvas-key", (event) => {
    event.preventDefaultAction = !event.originalEvent.key.startsWith("Arrow");
  });
}

document.addEventListener("keydown", (event) => {
  const action = KEYS[event.key];
  if (action && !event.ctrlKey && !event.altKey && !event.metaKey) {
    event.preventDefault();
    ACTIONS[action]();
  }
});

linkedBox?.addEventListener("change", () => link.setLinked(linkedBox.checked));

const opened = panes.map((pane) => new Promise((resolve) => pane.viewer.addOnceHandler("open", resolve)));
Promise.all(opened).then(() => {
  panes.forEach((pane) => link.limitZoom(pane));
  link.fit(true);
  panes[0].viewer.canvas.focus({ preventScroll: true });
  document.body.dataset.ready = "true";
});

// For tests and for the curious at the console.
window.view = { link, panes };
