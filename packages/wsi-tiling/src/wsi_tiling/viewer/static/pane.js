// One slide on a page: its viewer, and what all pages do with it. Pages add what they tell of the slide.

import { drawWithoutSeams } from "./seamless.js";

const STEP = 1.5;

export class Pane {
  // section: holds an element '.viewport'; options: OpenSeadragon's, besides those that all pages share.
  constructor(section, options) {
    this.section = section;
    this.viewer = OpenSeadragon({
      element: section.querySelector(".viewport"),
      drawer: "canvas", // the one that draws without seams; it also needs no WebGL
      smoothTileEdgesMinZoom: Infinity,
      crossOriginPolicy: false,
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "BOTTOM_RIGHT",
      navigatorAutoFade: false,
      imageLoaderLimit: 4,
      ...options,
    });
    this.viewport = this.viewer.viewport;
    drawWithoutSeams(this.viewer);
    this.viewer.addHandler("viewport-change", () => this.update());
    this.viewer.addHandler("tile-load-failed", () => this.showProblem());
    // OpenSeadragon has keys of its own. Its arrows are kept; pages read those that zoom by what is written on them, and
    // those that turn or flip a slide would put panes out of step.
    this.viewer.addHandler("canvas-key", (event) => {
      event.preventDefaultAction = !event.originalEvent.key.startsWith("Arrow");
    });
  }

  // Width of a pixel of the screen in the viewport's units, as it is now.
  get unitsPerPx() {
    return 1 / (this.viewport.getZoom(true) * this.viewport.getContainerSize().x);
  }

  // The middle of what is shown, in the viewport's units, as it is now.
  get centre() {
    return this.viewport.getCenter(true);
  }

  // Shows a position at a scale at once.
  show(centre, unitsPerPx) {
    this.viewport.zoomTo(1 / (unitsPerPx * this.viewport.getContainerSize().x), null, true);
    this.viewport.panTo(centre, true);
  }

  // Shows all of the slides of some panes, of which this is one.
  fit(panes, immediately) {
    this.viewport.goHome(immediately);
  }

  // Sets the limits of the zoom, when the size of the pane or the slides have changed.
  limitZoom(panes) {}

  zoomIn() {
    this.zoomBy(STEP);
  }

  zoomOut() {
    this.zoomBy(1 / STEP);
  }

  zoomBy(factor) {
    this.viewport.zoomBy(factor);
    this.viewport.applyConstraints();
  }

  // Tells the position and the scale, when either has changed.
  update() {}

  showProblem(isShown = true) {
    this.section.querySelector(".problem").hidden = !isShown;
  }
}

// A source of tiles for OpenSeadragon. facts: of `DeepZoom.facts`; address: gives the URL of a level's column and row.
export function tileSource({ width, height, tilePx, overlapPx, minLevel, maxLevel }, address) {
  return {
    width,
    height,
    tileSize: tilePx,
    tileOverlap: overlapPx,
    minLevel,
    maxLevel,
    hasTransparency: () => false, // else PNG tiles are taken to have holes, and clear what lies under them
    getTileUrl: address,
  };
}
