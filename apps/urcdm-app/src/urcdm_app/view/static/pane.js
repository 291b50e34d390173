// One slide: its viewer, its buttons, and what tells where in the slide one is.

import { drawScaleBar } from "./scale-bar.js";
import { drawWithoutSeams } from "./seamless.js";

const SMALLEST_LEVEL = 8; // one tile: smaller ones would be asked for and never be needed
const LOAD_MS = 120000;
const FURTHEST_IN = 16; // pixels of the screen a pixel of the finest slide
const FURTHEST_OUT = 0.4; // of the zoom that shows everything
const STEP = 1.5;

export class Pane {
  // slide: facts of the slide; width: its width in the plane of all panes.
  constructor(section, slide, width) {
    this.section = section;
    this.slide = slide;
    this.width = width;
    this.viewer = OpenSeadragon({
      element: section.querySelector(".viewport"),
      tileSources: [{ tileSource: tileSource(slide), x: 0, y: 0, width }],
      drawer: "canvas", // the one that draws without seams; it also needs no WebGL
      smoothTileEdgesMinZoom: Infinity,
      crossOriginPolicy: false,
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "BOTTOM_RIGHT",
      navigatorSizeRatio: 0.18,
      navigatorAutoFade: false,
      navigatorDisplayRegionColor: "#1f5fa8",
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      animationTime: 0.5,
      visibilityRatio: 0, // a linked pane may have to leave its slide
      imageLoaderLimit: 4,
      timeout: LOAD_MS,
    });
    this.viewport = this.viewer.viewport;
    drawWithoutSeams(this.viewer);
    this.viewer.addHandler("viewport-change", () => this.tell());
    this.viewer.addHandler("tile-load-failed", () => this.showProblem());
  }

  // The extent of the slide in the plane.
  get extent() {
    return { width: this.width, height: (this.width * this.slide.height) / this.slide.width };
  }

  // Width of a pixel of the screen in the plane, as it is now.
  get unitsPerPx() {
    return 1 / (this.viewport.getZoom(true) * this.viewport.getContainerSize().x);
  }

  // Pixels of the screen a pixel of the slide, as it is now.
  get zoom() {
    return this.width / this.slide.width / this.unitsPerPx;
  }

  // The middle of what is shown, in the plane, as it is now.
  get centre() {
    return this.viewport.getCenter(true);
  }

  // Shows a place at a scale at once.
  show(centre, unitsPerPx) {
    this.viewport.zoomTo(1 / (unitsPerPx * this.viewport.getContainerSize().x), null, true);
    this.viewport.panTo(centre, true);
  }

  // Shows all of an extent whose upper left corner is the plane's origin.
  fit({ width, height }, immediately) {
    this.viewport.fitBounds(new OpenSeadragon.Rect(0, 0, width, height), immediately);
  }

  // Keeps the zoom between seeing all of the extent and seeing the single pixels.
  limitZoom({ width, height }, smallestPixel) {
    const size = this.viewport.getContainerSize();
    this.viewport.minZoomLevel = FURTHEST_OUT * Math.min(1 / width, size.y / size.x / height);
    this.viewport.maxZoomLevel = FURTHEST_IN / (smallestPixel * size.x);
  }

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

  // One pixel of the screen for each of the slide.
  showPixels() {
    this.viewport.zoomTo(this.slide.width / this.width / this.viewport.getContainerSize().x);
  }

  tell() {
    const { mpp, magnification } = this.slide;
    const text = magnification ? `${roundFold(magnification * this.zoom)}×` : `${roundFold(100 * this.zoom)} %`;
    this.section.querySelector(".magnification").textContent = text;
    if (mpp) drawScaleBar(this.section.querySelector(".scale-bar"), mpp / this.zoom);
  }

  showProblem() {
    this.section.querySelector(".problem").hidden = false;
  }
}

function tileSource({ key, width, height, tilePx, overlapPx, maxLevel }) {
  return {
    width,
    height,
    tileSize: tilePx,
    tileOverlap: overlapPx,
    minLevel: Math.min(SMALLEST_LEVEL, maxLevel),
    maxLevel,
    hasTransparency: () => false, // else PNG tiles are taken to have holes, and clear what lies under them
    getTileUrl: (level, column, row) => `tiles/${key}/${level}/${column}_${row}.png`,
  };
}

function roundFold(value) {
  return value < 10 ? Number(value.toPrecision(2)) : Math.round(value);
}
