// The viewer of one slide, with a scale bar.

import { Pane, tileSource } from "./viewer/pane.js";
import { drawScaleBar } from "./viewer/scale-bar.js";

const LOAD_MS = 60000;
const FURTHEST_IN = 4; // screen pixels for each pixel of the slide
const FURTHEST_OUT = 0.8; // times the zoom that shows the whole slide

// OpenSeadragon writes a style into the page, which the site forbids, unless it finds an element with this attribute.
const placeholder = document.createElementNS("urn:study-app", "style");
placeholder.setAttribute("data-openseadragon-mobile-css", "");
document.head.append(placeholder);

export class SlidePane extends Pane {
  // grid: layout of the tiles, the same for all slides of a study, and micrometres a pixel.
  constructor(section, grid) {
    super(section, {
      navigatorWidth: "7rem",
      navigatorHeight: "7rem",
      navigatorBackground: "#d9d8db",
      navigatorOpacity: 1,
      navigatorDisplayRegionColor: "#5b3a8e",
      animationTime: 0.4,
      visibilityRatio: 0.3,
      minZoomImageRatio: FURTHEST_OUT,
      maxZoomPixelRatio: FURTHEST_IN,
      timeout: LOAD_MS,
      tileRetryMax: 4,
      tileRetryDelay: 2000,
    });
    this.grid = grid;
    this.viewer.canvas.setAttribute("role", "application");
    this.viewer.canvas.setAttribute("aria-label", `${section.getAttribute("aria-label")}; arrow keys move it`);
  }

  // Resolves when the whole slide is visible.
  async open(address) {
    this.showProblem(false);
    const opened = new Promise((resolve, reject) => {
      this.viewer.addOnceHandler("open", resolve);
      this.viewer.addOnceHandler("open-failed", reject);
    });
    this.viewer.open(tileSource(this.grid, (level, column, row) => `${address}/${level}/${column}_${row}`));
    await opened;
    const image = this.viewer.world.getItemAt(0);
    if (image.getFullyLoaded()) return;
    await new Promise((resolve) => {
      image.addHandler("fully-loaded-change", ({ fullyLoaded }) => fullyLoaded && resolve());
      this.viewer.addOnceHandler("tile-load-failed", resolve);
    });
  }

  // Addresses of the tiles that show the whole slide at first.
  wholeTiles(address) {
    const { width, tilePx, minLevel, maxLevel } = this.grid;
    const wanted = (this.viewer.element.clientWidth || width) * OpenSeadragon.pixelDensityRatio;
    const addresses = [];
    for (let level = minLevel; level <= maxLevel; level += 1) {
      const side = width / 2 ** (maxLevel - level);
      const columns = Math.ceil(side / tilePx);
      for (let i = 0; i < columns ** 2; i += 1) {
        addresses.push(`${address}/${level}/${i % columns}_${Math.floor(i / columns)}`);
      }
      if (side >= wanted) break;
    }
    return addresses;
  }

  // Updates the scale bar, and shows the navigator unless the whole slide is visible.
  update() {
    const isWhole = this.viewport.getZoom(true) < this.viewport.getHomeZoom() * 1.01;
    this.viewer.navigator.element.style.visibility = isWhole ? "hidden" : "inherit";
    const { width, um } = this.grid;
    const micrometresPerPx = width * um * this.unitsPerPx;
    drawScaleBar(this.section.querySelector(".scale-bar"), micrometresPerPx);
  }
}
