// The page of whole slides, side by side.

import { Link } from "./link.js";
import { Reading } from "./reading.js";
import { SlidePane } from "./slide-pane.js";

const KEYS = { "+": "in", "=": "in", "-": "out", _: "out", 0: "whole", Home: "whole" };

// Shows items, as `Reading` has it show them.
class Slides {
  constructor(stage, link) {
    this.stage = stage;
    this.link = link;
    this.loading = new Map();
  }

  // Loads the tiles that whole slides are shown with.
  async prepare(item) {
    const addresses = item.pictures.flatMap((address, i) => this.link.panes[i].wholeTiles(address));
    await Promise.all(addresses.map((address) => this.load(address)));
  }

  // Both slides come on screen together, whole: how long one of them takes tells nothing.
  async show(item) {
    this.stage.classList.add("waiting");
    await Promise.all(item.pictures.map((address, i) => this.link.panes[i].open(address)));
    this.link.fit(true);
    this.stage.classList.remove("waiting");
  }

  keepOnly(items) {
    const kept = items.flatMap((item) => item.pictures);
    for (const address of this.loading.keys()) {
      if (!kept.some((slide) => address.startsWith(slide))) this.loading.delete(address);
    }
  }

  load(address) {
    if (!this.loading.has(address)) {
      const image = new Image();
      image.src = address;
      const loading = image.decode().then(() => image); // the image itself, so that the browser keeps it
      loading.catch(() => this.loading.delete(address)); // the next try begins anew
      this.loading.set(address, loading);
    }
    return this.loading.get(address);
  }
}

const stage = document.querySelector("#answer");
const grid = JSON.parse(stage.querySelector("#grid").dataset.grid);
const panes = [...stage.querySelectorAll(".slide")].map((section) => new SlidePane(section, grid));
const link = new Link(panes);
const linked = document.querySelector("#linked");

const actions = {
  in: () => link.leader.zoomIn(),
  out: () => link.leader.zoomOut(),
  whole: () => link.fit(),
};

for (const pane of panes) {
  for (const button of pane.section.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => {
      link.lead(pane);
      actions[button.dataset.do]();
    });
  }
}

linked.addEventListener("change", () => link.setLinked(linked.checked));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key.toLowerCase() === "l") linked.click();
  const action = actions[KEYS[event.key]];
  if (!action) return;
  event.preventDefault();
  action();
});

new Reading(new Slides(stage, link)).start();
