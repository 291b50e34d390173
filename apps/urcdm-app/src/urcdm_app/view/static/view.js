// The page: a pane for each slide, the link between them, buttons and keys.

import { planeWidths } from "./frame.js";
import { SlidePane } from "./slide-pane.js";
import { bindControls } from "./viewer/controls.js";
import { Link } from "./viewer/link.js";

const sections = [...document.querySelectorAll(".pane")];
const slides = sections.map((section) => JSON.parse(section.dataset.slide));
const widths = planeWidths(slides);
const panes = sections.map((section, i) => new SlidePane(section, slides[i], widths[i]));
const link = new Link(panes);
bindControls(link, document.querySelector("#linked"), {
  actions: { pixels: () => link.leader.showPixels() },
  keys: { 1: "pixels" },
});

const opened = panes.map((pane) => new Promise((resolve) => pane.viewer.addOnceHandler("open", resolve)));
Promise.all(opened).then(() => {
  panes.forEach((pane) => pane.limitZoom(panes));
  link.fit(true);
  panes[0].viewer.canvas.focus({ preventScroll: true });
  document.body.dataset.ready = "true";
});

// For tests and for the curious at the console.
window.view = { link, panes };
