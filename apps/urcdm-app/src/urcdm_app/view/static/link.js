// Panes that move together. The pane that was touched or focused last leads; the others follow it frame by frame.

const TOUCHES = [
  "canvas-press",
  "canvas-scroll",
  "canvas-pinch",
  "canvas-key",
  "navigator-click",
  "navigator-drag",
  "navigator-scroll",
];

export class Link {
  constructor(panes) {
    this.panes = panes;
    this.linked = true;
    // How far each pane lies from the place that they share: not at all, unless they were linked again when apart.
    this.apart = new Map(panes.map((pane) => [pane, new OpenSeadragon.Point(0, 0)]));
    this.lead(panes[0]);
    for (const pane of panes) {
      pane.section.addEventListener("focusin", () => this.lead(pane));
      for (const touch of TOUCHES) pane.viewer.addHandler(touch, () => this.lead(pane));
      pane.viewer.addHandler("viewport-change", () => {
        if (pane === this.leader) this.follow();
      });
      pane.viewer.addHandler("after-resize", () => {
        this.limitZoom(pane);
        this.follow();
      });
    }
  }

  lead(pane) {
    this.leader = pane;
    for (const other of this.panes) other.section.classList.toggle("leads", other === pane);
  }

  follow() {
    if (!this.linked) return;
    const shared = this.leader.centre.minus(this.apart.get(this.leader));
    for (const pane of this.panes) {
      if (pane !== this.leader) pane.show(shared.plus(this.apart.get(pane)), this.leader.unitsPerPx);
    }
  }

  // Links the panes at the places where they are, or lets each go its own way.
  setLinked(linked) {
    if (linked && !this.linked) {
      for (const pane of this.panes) this.apart.set(pane, pane.centre.minus(this.leader.centre));
    }
    this.linked = linked;
    this.follow();
  }

  // Shows whole slides: all of them at one scale and place if they are linked, else the leader's.
  fit(immediately = false) {
    if (this.linked) {
      for (const pane of this.panes) this.apart.set(pane, new OpenSeadragon.Point(0, 0));
    }
    this.leader.fit(this.linked ? this.whole : this.leader.extent, immediately);
    if (immediately) this.follow();
  }

  // The extent of all slides, laid over each other.
  get whole() {
    const extents = this.panes.map((pane) => pane.extent);
    return {
      width: Math.max(...extents.map((extent) => extent.width)),
      height: Math.max(...extents.map((extent) => extent.height)),
    };
  }

  limitZoom(pane) {
    pane.limitZoom(this.whole, Math.min(...this.panes.map(({ width, slide }) => width / slide.width)));
  }
}
