// The page of whole slides, side by side.

import { Reading } from "./reading.js";
import { SlidePane } from "./slide-pane.js";
import { bindControls } from "./viewer/controls.js";
import { Link } from "./viewer/link.js";

// The display of slides that `Reading` uses.
class Slides {
  constructor(stage, link) {
    this.stage = stage;
    this.link = link;
    this.loading = new Map();
  }

  // Loads the tiles that show the slides as a whole.
  async prepare(item) {
    const addresses = item.pictures.flatMap((address, i) => this.link.panes[i].wholeTiles(address));
    await Promise.all(addresses.map((address) => this.load(address)));
  }

  // Shows both slides at the same time, as a whole, so that loading times reveal nothing.
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
      loading.catch(() => this.loading.delete(address)); // so that the next try loads it again
      this.loading.set(address, loading);
    }
    return this.loading.get(address);
  }
}

const stage = document.querySelector("#answer");
const grid = JSON.parse(stage.querySelector("#grid").dataset.grid);
const panes = [...stage.querySelectorAll(".slide")].map((section) => new SlidePane(section, grid));
const link = new Link(panes);
bindControls(link, document.querySelector("#linked"));
new Reading(new Slides(stage, link)).start();
