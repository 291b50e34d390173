// Tiles drawn without seams, at every zoom: a seam of the viewer's would be taken for one of the slide.
//
// OpenSeadragon lays tiles over each other with their overlaps, and the end of the upper one shows. Here each tile draws
// only the pixels of the screen that are its own; the overlaps just feed the interpolation at its ends. So the picture is
// the same, pixel by pixel, as if the slide were one tile.

export function drawWithoutSeams(viewer) {
  viewer.addHandler("tile-drawing", ({ tile, tiledImage, context }) => {
    const { source } = tiledImage;
    const tilePx = 2 ** (source.maxLevel - tile.level) * source.getTileWidth(tile.level); // at full size
    const corner = (column, row) => {
      const x = Math.min(column * tilePx, source.dimensions.x);
      const y = Math.min(row * tilePx, source.dimensions.y);
      const place = viewer.viewport.pixelFromPoint(tiledImage.imageToViewportCoordinates(x, y, true), true);
      return place.times(OpenSeadragon.pixelDensityRatio).apply(Math.round);
    };
    const [start, end] = [corner(tile.x, tile.y), corner(tile.x + 1, tile.y + 1)];
    context.beginPath(); // the context is restored when the tile has been drawn
    context.rect(start.x, start.y, end.x - start.x, end.y - start.y);
    context.clip();
  });
}
