// Window and level: which values of grey scans are black and white. Their pictures hold levels, of which a
// table of each scan says the values; see revgan.figures.windows.

class Windows {
  /** `changed` is called whenever a window is chosen. */
  constructor(root, set, changed) {
    this.set = set;
    this.chosen = {};
    for (const group of root.querySelectorAll(".window")) this.listen(group, changed);
  }

  listen(group, changed) {
    const [centre, width, names] = ["centre", "width", "window"].map((name) =>
      group.querySelector(`[name="${name}"]`),
    );
    const own = names.querySelector("[data-own]");
    const choose = () => {
      const [middle, span] = [centre.valueAsNumber, width.valueAsNumber];
      if (Number.isFinite(middle) && span > 0) {
        this.chosen[group.dataset.side] = { centre: middle, width: span };
      }
    };
    const typed = () => {
      choose();
      own.hidden = false;
      own.selected = true;
      changed();
    };
    centre.addEventListener("input", typed);
    width.addEventListener("input", typed);
    names.addEventListener("change", () => {
      const { centre: middle, width: span } = names.selectedOptions[0].dataset;
      if (middle === undefined) return;
      centre.value = middle;
      width.value = span;
      choose();
      changed();
    });
    choose();
  }

  /** The words of a kind's 256 levels, or nothing where its pictures are as they are. */
  shades(kind, number) {
    const side = this.set.sides[kind];
    if (!side) return undefined;
    const { centre, width } = this.chosen[side];
    const grey = (value) => Math.round(255 * Math.min(1, Math.max(0, (value - centre) / width + 0.5)));
    return Uint32Array.from(this.set.cases[number].tables[side], (value) => {
      const shade = grey(value);
      return (255 << 24) | (shade << 16) | (shade << 8) | shade;
    });
  }
}
