// A bar with a round length, in micrometres or millimetres.

const LONGEST_PX = 120;

// The longest of 1, 2, 5, 10, 20, 50, ... that is at most `limit`.
export function roundLength(limit) {
  const decade = 10 ** Math.floor(Math.log10(limit));
  return [5, 2, 1].find((step) => step * decade <= limit) * decade;
}

export function lengthText(micrometres) {
  const [value, unit] = micrometres >= 1000 ? [micrometres / 1000, "mm"] : [micrometres, "µm"];
  return `${Number(value.toPrecision(1))} ${unit}`;
}

// Draws the bar for a picture in which a pixel of the screen is so many micrometres.
export function drawScaleBar(element, micrometresPerPx) {
  const length = roundLength(LONGEST_PX * micrometresPerPx);
  element.hidden = false;
  element.style.width = `${length / micrometresPerPx}px`;
  element.querySelector("span").textContent = lengthText(length);
}
