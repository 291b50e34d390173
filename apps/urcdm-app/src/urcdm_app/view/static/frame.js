// Where slides lie in the plane that all panes share. A pane's viewport is in units of that plane, so panes that show the
// same place at the same scale have the same bounds, whatever the slides' sizes and pixels.

// The plane's width of each slide; the widest is 1. Slides whose scale is known keep their true proportions. Of the
// others nothing is known but their pixels: they are taken to be as wide as the first whose scale is known.
export function planeWidths(slides) {
  const known = slides.find((slide) => slide.mpp);
  const micrometres = slides.map((slide) => {
    const like = slide.mpp ? slide : known;
    return like ? like.width * like.mpp : 1;
  });
  const widest = Math.max(...micrometres);
  return micrometres.map((width) => width / widest);
}
