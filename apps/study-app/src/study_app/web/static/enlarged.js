// A picture enlarged in the whole window; dragging, scrolling and the arrow keys move it.

const SCALES = ["1", "2", "4"]; // relative to the picture fitted into the window

export class Enlarged {
  constructor(dialog) {
    this.dialog = dialog;
    this.view = dialog.querySelector(".view");
    dialog.querySelector(".tools").addEventListener("click", (event) => this.act(event.target.dataset.do));
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") this.act("larger");
      if (event.key === "-") this.act("smaller");
    });
    this.view.addEventListener("pointerdown", (event) => this.drag(event));
    // After closing, the browser returns the focus to the previous element.
    dialog.addEventListener("close", () => this.view.replaceChildren());
  }

  // centre: the point in the middle, as shares of the picture's width and height.
  open(image, centre) {
    const copy = image.cloneNode();
    copy.draggable = false;
    this.view.replaceChildren(copy);
    this.dialog.setAttribute("aria-label", `${image.alt}, enlarged`);
    this.dialog.showModal();
    this.scaleTo("2", centre);
    this.view.focus();
  }

  act(action) {
    if (action === "close") this.dialog.close();
    const step = { larger: 1, smaller: -1 }[action];
    const scale = SCALES[SCALES.indexOf(this.view.dataset.scale) + step];
    if (scale) this.scaleTo(scale, this.middle());
  }

  scaleTo(scale, [x, y]) {
    const { view } = this;
    view.dataset.scale = scale;
    view.scrollTo(x * view.scrollWidth - view.clientWidth / 2, y * view.scrollHeight - view.clientHeight / 2);
  }

  middle() {
    const { view } = this;
    return [
      (view.scrollLeft + view.clientWidth / 2) / view.scrollWidth,
      (view.scrollTop + view.clientHeight / 2) / view.scrollHeight,
    ];
  }

  // Touch scrolls natively; the mouse drags the picture.
  drag(event) {
    if (event.pointerType !== "mouse") return;
    const { view } = this;
    const move = ({ movementX, movementY }) => view.scrollBy(-movementX, -movementY);
    view.setPointerCapture(event.pointerId);
    view.addEventListener("pointermove", move);
    view.addEventListener("lostpointercapture", () => view.removeEventListener("pointermove", move), { once: true });
  }
}
