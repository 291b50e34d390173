// Buttons and keys of a page with slides.

const KEYS = { "+": "in", "=": "in", "-": "out", _: "out", 0: "whole", Home: "whole", l: "link", L: "link" };

// link: the panes; linkedBox: the checkbox that links them, null if there is one pane; actions, keys: of this page alone.
export function bindControls(link, linkedBox, { actions = {}, keys = {} } = {}) {
  const allActions = {
    in: () => link.leader.zoomIn(),
    out: () => link.leader.zoomOut(),
    whole: () => link.fit(),
    link: () => linkedBox?.click(),
    ...actions,
  };
  const allKeys = { ...KEYS, ...keys };

  for (const pane of link.panes) {
    for (const button of pane.section.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => {
        link.lead(pane);
        allActions[button.dataset.do]();
      });
    }
  }

  document.addEventListener("keydown", (event) => {
    const action = allKeys[event.key];
    if (!action || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    allActions[action]();
  });

  linkedBox?.addEventListener("change", () => link.setLinked(linkedBox.checked));
}
