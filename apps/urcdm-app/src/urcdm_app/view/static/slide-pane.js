// One slide of the page, in the plane that all slides share.

import { Pane, tileSource } from "./viewer/pane.js";
import { drawScaleBar } from "./viewer/scale-bar.js";

const LOAD_MS = 120000;
const FURTHEST_IN = 16; // pixels of the screen a pixel of the finest slide
const FURTHEST_OUT = 0.4; // of the zoom that shows everything

export class SlidePane extends Pane {
  // slide: facts of the slide; width: its width in the plane of all panes.
  constructor(section, slide, width) {
    const address = (level, column, row) => `tiles/${slide.key}/${level}/${column}_${row}.png`;
    super(section, {
      tileSources: [{ tileSource: tileSource(slide, address), x: 0, y: 0, width }],
      navigatorSizeRatio: 0.18,
      navigatorDisplayRegionColor: "#1f5fa8",
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      animationTime: 0.5,
      visibilityRatio: 0, // a linked pane may have to leave its slide
      timeout: LOAD_MS,
    });
    this.slide = slide;
    this.width = width;
  }

  get height() {
    return (this.width * this.slide.height) / this.slide.width;
  }

  // Pixels of the screen a pixel of the slide, as it is now.
  get zoom() {
    return this.width / this.slide.width / this.unitsPerPx;
  }

  fit(panes, immediately) {
    const { width, height } = extent(panes);
    this.viewport.fitBounds(new OpenSeadragon.Rect(0, 0, width, height), immediately);
  }

  // Keeps the zoom between seeing all of the slides and seeing the single pixels.
  limitZoom(panes) {
    const { width, height } = extent(panes);
    const smallestPixel = Math.min(...panes.map((pane) => pane.width / pane.slide.width));
    const size = this.viewport.getContainerSize();
    this.viewport.minZoomLevel = FURTHEST_OUT * Math.min(1 / width, size.y / size.x / height);
    this.viewport.maxZoomLevel = FURTHEST_IN / (smallestPixel * size.x);
  }

  // One pixel of the screen for each of the slide.
  showPixels() {
    this.viewport.zoomTo(this.slide.width / this.width / this.viewport.getContainerSize().x);
  }

  update() {
    const { mpp, magnification } = this.slide;
    const text = magnification ? `${roundFold(magnification * this.zoom)}×` : `${roundFold(100 * this.zoom)} %`;
    this.section.querySelector(".magnification").textContent = text;
    if (mpp) drawScaleBar(this.section.querySelector(".scale-bar"), mpp / this.zoom);
  }
}

// The extent in the plane of slides that are laid over each other.
function extent(panes) {
  return { width: Math.max(...panes.map((pane) => pane.width)), height: Math.max(...panes.map((pane) => pane.height)) };
}

function roundFold(value) {
  return value < 10 ? Number(value.toPrecision(2)) : Math.round(value);
}
