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
    this.meet();
    this.lead(panes[0]);
    for (const pane of panes) {
      pane.section.addEventListener("focusin", () => this.lead(pane));
      for (const touch of TOUCHES) pane.viewer.addHandler(touch, () => this.lead(pane));
      pane.viewer.addHandler("viewport-change", () => {
        if (pane === this.leader) this.follow();
      });
      pane.viewer.addHandler("after-resize", () => {
        pane.limitZoom(panes);
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

  // Links the panes at the positions where they are, or lets each go its own way.
  setLinked(linked) {
    if (linked && !this.linked) {
      for (const pane of this.panes) this.apart.set(pane, pane.centre.minus(this.leader.centre));
    }
    this.linked = linked;
    this.follow();
  }

  // Shows whole slides: all of them at one scale and position if they are linked, else the leader's.
  fit(immediately = false) {
    if (this.linked) this.meet();
    this.leader.fit(this.linked ? this.panes : [this.leader], immediately);
    if (immediately) this.follow();
  }

  // Puts all panes at the position that they share; linked again when apart, they keep their distance from it.
  meet() {
    this.apart = new Map(this.panes.map((pane) => [pane, new OpenSeadragon.Point(0, 0)]));
  }
}
