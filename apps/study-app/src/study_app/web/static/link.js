// Slides that move together, or each its own way. The one that was touched or focused last leads; the other follows.

const TOUCHES = ["canvas-press", "canvas-scroll", "canvas-pinch", "canvas-key", "navigator-click", "navigator-drag"];

export class Link {
  constructor(panes) {
    this.panes = panes;
    this.linked = true;
    this.lead(panes[0]);
    this.meet();
    for (const pane of panes) {
      pane.section.addEventListener("focusin", () => this.lead(pane));
      for (const touch of TOUCHES) pane.viewer.addHandler(touch, () => this.lead(pane));
      pane.viewer.addHandler("viewport-change", () => pane === this.leader && this.follow());
      pane.viewer.addHandler("after-resize", () => this.follow());
    }
  }

  lead(pane) {
    this.leader = pane;
  }

  // Shows whole slides: both, if they are linked.
  fit(immediately = false) {
    if (this.linked) this.meet();
    this.leader.fit(immediately);
    if (immediately) this.follow();
  }

  // Linked again, slides keep the distance that they have then.
  setLinked(linked) {
    if (linked && !this.linked) {
      for (const pane of this.panes) this.apart.set(pane, pane.centre.minus(this.leader.centre));
    }
    this.linked = linked;
    this.follow();
  }

  meet() {
    this.apart = new Map(this.panes.map((pane) => [pane, new OpenSeadragon.Point(0, 0)]));
  }

  follow() {
    if (!this.linked) return;
    const shared = this.leader.centre.minus(this.apart.get(this.leader));
    for (const pane of this.panes) {
      if (pane !== this.leader) pane.show(shared.plus(this.apart.get(pane)), this.leader.zoom);
    }
  }
}
