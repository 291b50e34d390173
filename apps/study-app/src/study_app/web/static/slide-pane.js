// One slide: its viewer, and a bar that tells its scale.

const LOAD_MS = 60000;
const FURTHEST_IN = 4; // pixels of the screen a pixel of the slide
const FURTHEST_OUT = 0.8; // of the zoom that shows all of it
const STEP = 1.5;
const LONGEST_BAR_PX = 120;

// OpenSeadragon would write a style into the page, which the site forbids, unless it finds an element of this name there.
const stand = document.createElementNS("urn:study-app", "style");
stand.setAttribute("data-openseadragon-mobile-css", "");
document.head.append(stand);

export class SlidePane {
  // grid: of the tiles, the same for all slides of a study: its size and those of its tiles in pixels, the numbers of its
  // first and its last level, and the micrometres of a pixel.
  constructor(section, grid) {
    this.section = section;
    this.grid = grid;
    this.viewer = OpenSeadragon({
      element: section.querySelector(".viewport"),
      drawer: "canvas", // it needs no WebGL, and can draw without seams
      smoothTileEdgesMinZoom: Infinity,
      crossOriginPolicy: false,
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "BOTTOM_RIGHT",
      navigatorWidth: "7rem",
      navigatorHeight: "7rem",
      navigatorAutoFade: false,
      navigatorBackground: "#d9d8db",
      navigatorOpacity: 1,
      navigatorDisplayRegionColor: "#5b3a8e",
      animationTime: 0.4,
      visibilityRatio: 0.3,
      minZoomImageRatio: FURTHEST_OUT,
      maxZoomPixelRatio: FURTHEST_IN,
      imageLoaderLimit: 4,
      timeout: LOAD_MS,
      tileRetryMax: 4,
      tileRetryDelay: 2000,
    });
    this.viewport = this.viewer.viewport;
    this.viewer.canvas.setAttribute("role", "application");
    this.viewer.canvas.setAttribute("aria-label", `${section.getAttribute("aria-label")}; arrow keys move it`);
    this.viewer.addHandler("tile-drawing", (event) => clipToOwn(this.viewer, event));
    this.viewer.addHandler("viewport-change", () => this.tell());
    this.viewer.addHandler("tile-load-failed", () => this.tellTrouble(true));
    this.viewer.addHandler("canvas-key", (event) => {
      // The other keys of the viewer turn and flip a slide, or zoom in other steps.
      event.preventDefaultAction = !event.originalEvent.key.startsWith("Arrow");
    });
  }

  // Resolves when a slide can be seen, whole.
  async open(address) {
    const { size, tile, overlap, first, last } = this.grid;
    this.tellTrouble(false);
    const opened = new Promise((resolve, reject) => {
      this.viewer.addOnceHandler("open", resolve);
      this.viewer.addOnceHandler("open-failed", reject);
    });
    this.viewer.open({
      width: size,
      height: size,
      tileSize: tile,
      tileOverlap: overlap,
      minLevel: first,
      maxLevel: last,
      hasTransparency: () => false,
      getTileUrl: (level, column, row) => `${address}/${level}/${column}_${row}`,
    });
    await opened;
    const image = this.viewer.world.getItemAt(0);
    if (image.getFullyLoaded()) return;
    await new Promise((resolve) => {
      image.addHandler("fully-loaded-change", ({ fullyLoaded }) => fullyLoaded && resolve());
      this.viewer.addOnceHandler("tile-load-failed", resolve);
    });
  }

  // Addresses of the tiles that a whole slide is drawn from at first.
  wholeTiles(address) {
    const { size, tile, first, last } = this.grid;
    const wanted = (this.viewer.element.clientWidth || size) * OpenSeadragon.pixelDensityRatio;
    const addresses = [];
    for (let level = first; level <= last; level += 1) {
      const side = size / 2 ** (last - level);
      const columns = Math.ceil(side / tile);
      for (let i = 0; i < columns ** 2; i += 1) {
        addresses.push(`${address}/${level}/${i % columns}_${Math.floor(i / columns)}`);
      }
      if (side >= wanted) break;
    }
    return addresses;
  }

  // The middle of what is shown, and the zoom; slides of one size have them in common.
  get centre() {
    return this.viewport.getCenter(true);
  }

  get zoom() {
    return this.viewport.getZoom(true);
  }

  // Shows a place at a zoom at once.
  show(centre, zoom) {
    this.viewport.zoomTo(zoom, null, true);
    this.viewport.panTo(centre, true);
  }

  fit(immediately) {
    this.viewport.goHome(immediately);
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

  // Tells the scale, by the longest bar of a round length there is room for, and the place, if not all is seen anyway.
  tell() {
    const isWhole = this.zoom < this.viewport.getHomeZoom() * 1.01;
    this.viewer.navigator.element.style.visibility = isWhole ? "hidden" : "inherit";
    const { size, um } = this.grid;
    const micrometresPerPx = (size * um) / (this.zoom * this.viewport.getContainerSize().x);
    const longest = LONGEST_BAR_PX * micrometresPerPx;
    const decade = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].find((step) => step * decade <= longest) * decade;
    const bar = this.section.querySelector(".scale-bar");
    bar.style.width = `${length / micrometresPerPx}px`;
    bar.textContent = length < 1000 ? `${Number(length.toPrecision(1))} µm` : `${length / 1000} mm`;
  }

  tellTrouble(isThere) {
    this.section.querySelector(".trouble").hidden = !isThere;
  }
}

// Lets a tile draw only the pixels of the screen that are its own, not those it shares with its neighbours, which are there
// to interpolate at its ends: so no seam shows, which would be taken for one of the slide.
function clipToOwn({ viewport }, { tile, tiledImage, context }) {
  const { source } = tiledImage;
  const side = source.getTileWidth(tile.level) * 2 ** (source.maxLevel - tile.level);
  const corner = (column, row) =>
    viewport
      .pixelFromPoint(
        tiledImage.imageToViewportCoordinates(
          Math.min(column * side, source.dimensions.x),
          Math.min(row * side, source.dimensions.y),
          true,
        ),
        true,
      )
      .times(OpenSeadragon.pixelDensityRatio)
      .apply(Math.round);
  const [start, end] = [corner(tile.x, tile.y), corner(tile.x + 1, tile.y + 1)];
  context.beginPath();
  context.rect(start.x, start.y, end.x - start.x, end.y - start.y);
  context.clip();
}
