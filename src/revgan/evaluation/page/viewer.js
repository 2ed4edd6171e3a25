"use strict";
// The viewer of a report: all test scans of one direction, two pictures at a time with a line between
// them, and all pictures below, with the same zoom. A scan is a stack of slices, of which an image has
// one. A picture holds the slices of a stack as tiles, row by row; see revgan.figures.stacks.

const PLANES = {
  axial: { axes: [0, 1, 2], sides: ["R", "L"] },
  coronal: { axes: [1, 0, 2], sides: ["R", "L"] },
  sagittal: { axes: [2, 0, 1], sides: ["A", "P"] },
};
const MOST_ZOOM = 32;

/** A picture of the page, decoded: {width, words}, of which each word is a pixel. */
async function decoded(id) {
  const holder = document.getElementById(id);
  const image = new Image();
  image.src = holder.src || `data:image/webp;base64,${holder.textContent.trim()}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { width: canvas.width, words: new Uint32Array(data.buffer) };
}

/** Where slices are in a picture: the steps of its words along slices, rows and columns. */
function word([slices, height, width], picture, slice, row, column) {
  const tiles = Math.ceil(Math.sqrt(slices));
  const top = Math.floor(slice / tiles) * height;
  const left = (slice % tiles) * width;
  return (top + row) * picture.width + left + column;
}

/** One slice of a picture as a canvas; superior is up. Words of a picture of levels come from `shades`. */
function cut(picture, shape, plane, index, shades) {
  const [through, down, across] = PLANES[plane].axes;
  const canvas = document.createElement("canvas");
  canvas.width = shape[across];
  canvas.height = shape[down];
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const words = new Uint32Array(image.data.buffer);
  const at = [0, 0, 0];
  at[through] = index;
  for (let y = 0; y < canvas.height; y++) {
    at[down] = down === 0 ? canvas.height - 1 - y : y;
    for (let x = 0; x < canvas.width; x++) {
      at[across] = x;
      const found = picture.words[word(shape, picture, ...at)];
      words[y * canvas.width + x] = shades ? shades[found & 255] : found;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.set = JSON.parse(document.getElementById(root.dataset.set).textContent);
    this.stage = root.querySelector(".stage");
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.plane = "axial";
    this.order = this.set.cases.map((_, number) => number);
    this.pictures = {};
    this.slices = {};
    this.windows = new Windows(root, this.set, () => this.slice());
    this.fillSelects();
    this.listen();
    root.hidden = false;
    new ResizeObserver(() => this.draw()).observe(root);
    this.sort(this.find("order").value);
    this.show(this.set.first);
  }

  find(name) {
    return this.root.querySelector(`[name="${name}"]`);
  }

  fillSelects() {
    const kinds = this.set.kinds;
    for (const name of ["left", "right"]) {
      this.find(name).append(...kinds.map((kind) => new Option(kind)));
    }
    this.find("left").value = "translation";
    this.find("right").value = kinds.includes("truth") ? "truth" : "input";
  }

  listen() {
    const on = (name, event, action) => this.find(name)?.addEventListener(event, action);
    on("previous", "click", () => this.step(-1));
    on("next", "click", () => this.step(1));
    on("scan", "change", (event) => this.show(Number(event.target.value)));
    on("order", "change", (event) => this.sort(event.target.value));
    on("left", "change", () => this.draw());
    on("right", "change", () => this.draw());
    on("divider", "input", () => this.draw());
    on("plane", "change", (event) => this.turn(event.target.value));
    on("slice", "input", () => this.slice());
    on("nearer", "click", () => this.zoom(2));
    on("farther", "click", () => this.zoom(0.5));
    on("fit", "click", () => this.fit());
    this.stage.addEventListener("keydown", (event) => this.key(event));
    this.listenToPointers();
  }

  /** Sorts the list of scans by name or, worst first, by a score. */
  sort(by) {
    const score = this.set.scores.find(({ key }) => key === by);
    const worse = score?.lower ? -1 : 1;
    const cases = this.set.cases;
    const value = (number) => {
      const known = cases[number].scores[by] ?? Infinity;
      return score?.size ? Math.abs(known) : known; // a bias is as bad below 0 as above
    };
    this.order.sort((one, other) => one - other);
    if (score) this.order.sort((one, other) => worse * (value(one) - value(other)));
    const label = (number) => {
      const known = score && by in cases[number].scores;
      return known ? `${cases[number].name} (${this.told(score, number)})` : cases[number].name;
    };
    this.find("scan").replaceChildren(
      ...this.order.map((number) => new Option(label(number), String(number))),
    );
    this.find("scan").value = String(this.number ?? this.set.first);
  }

  told({ key, digits }, number) {
    return this.set.cases[number].scores[key].toFixed(digits);
  }

  step(by) {
    const place = this.order.indexOf(this.number) + by;
    this.show(this.order.at(place % this.order.length));
  }

  /** Shows a scan, once its pictures are decoded. */
  async show(number) {
    this.number = number;
    this.find("scan").value = String(number);
    const { kinds, direction } = this.set;
    const ids = kinds.map((kind) => `${direction}-${number}-${kind.replace(" ", "-")}`);
    const pictures = await Promise.all(ids.map(decoded));
    if (this.number !== number) return; // another was chosen meanwhile
    const former = this.shape?.join();
    ({ shape: this.shape, spacing: this.spacing } = this.set.cases[number]);
    this.pictures = Object.fromEntries(kinds.map((kind, place) => [kind, pictures[place]]));
    const scores = this.set.scores.filter(({ key }) => key in this.set.cases[number].scores);
    this.root.querySelector("output.scores").textContent = scores
      .map((score) => `${score.heading} ${this.told(score, number)}`)
      .join("  ·  ");
    if (former !== this.shape.join()) this.turn(this.plane);
    else this.slice();
    this.root.dataset.shown = String(number);
  }

  /** Chooses the plane of slices, and starts in its middle. */
  turn(plane) {
    this.plane = plane;
    const count = this.shape[PLANES[plane].axes[0]];
    const slider = this.find("slice");
    if (slider) {
      slider.max = String(count - 1);
      slider.value = String(Math.floor(count / 2));
    }
    PLANES[plane].sides.forEach((side, place) => {
      const shown = this.root.querySelectorAll(".side")[place];
      if (shown) shown.textContent = side;
    });
    this.slice();
  }

  slice() {
    const slider = this.find("slice");
    const index = slider ? Number(slider.value) : 0;
    if (slider) {
      this.root.querySelector("output.slice").textContent = `${index + 1} of ${Number(slider.max) + 1}`;
    }
    this.slices = Object.fromEntries(
      Object.entries(this.pictures).map(([kind, picture]) => [
        kind,
        cut(picture, this.shape, this.plane, index, this.windows.shades(kind, this.number)),
      ]),
    );
    this.draw();
  }

  /** A slice's height and width in the scan's own unit of length. */
  size() {
    const [, down, across] = PLANES[this.plane].axes;
    return [down, across].map((axis) => this.shape[axis] * this.spacing[axis]);
  }

  draw() {
    if (!this.slices.translation) return;
    const share = Number(this.find("divider").value) / 100;
    const [left, right] = [this.find("left").value, this.find("right").value];
    this.root.querySelector(".tag.left").textContent = left;
    this.root.querySelector(".tag.right").textContent = right;
    this.root.querySelector(".zoom output").textContent = `${Math.round(this.view.zoom * 100)} %`;
    this.stage.classList.toggle("zoomed", this.view.zoom > 1);
    const canvas = this.stage.querySelector("canvas");
    const context = this.paint(canvas, this.slices[left]);
    const at = Math.round(share * canvas.width);
    context.save();
    context.beginPath();
    context.rect(at, 0, canvas.width - at, canvas.height);
    context.clip();
    this.paint(canvas, this.slices[right], context);
    context.restore();
    this.drawDivider(context, at, canvas.height);
    for (const panel of this.root.querySelectorAll(".panels canvas")) {
      this.paint(panel, this.slices[panel.dataset.kind]);
    }
  }

  drawDivider(context, at, height) {
    const unit = devicePixelRatio;
    context.fillStyle = "#000000";
    context.fillRect(at - 2 * unit, 0, 4 * unit, height);
    context.fillStyle = "#ffffff";
    context.fillRect(at - unit, 0, 2 * unit, height);
    context.beginPath();
    context.arc(at, height / 2, 9 * unit, 0, 2 * Math.PI);
    context.fill();
    context.lineWidth = unit;
    context.strokeStyle = "#000000";
    context.stroke();
  }

  /** Draws a slice with the present zoom; over what is there, if the context is given. */
  paint(canvas, slice, over) {
    const context = over ?? canvas.getContext("2d");
    if (!over) {
      canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
      canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    }
    const [tall, wide] = this.size();
    const scale = this.view.zoom * Math.min(canvas.width / wide, canvas.height / tall);
    const [width, height] = [wide * scale, tall * scale];
    context.imageSmoothingEnabled = width < 3 * slice.width; // pixels far enlarged are squares
    context.imageSmoothingQuality = "high";
    const left = canvas.width / 2 - this.view.x * width;
    const top = canvas.height / 2 - this.view.y * height;
    context.fillStyle = "#0b0d10";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(slice, left, top, width, height);
    return context;
  }

  /** Zooms by a factor around a point of the stage, by default its middle. */
  zoom(factor, point) {
    const former = this.view.zoom;
    const zoom = Math.min(MOST_ZOOM, Math.max(1, former * factor));
    if (point) {
      const [wide, tall] = this.fitted();
      this.view.x += (point.x / wide) * (1 / former - 1 / zoom);
      this.view.y += (point.y / tall) * (1 / former - 1 / zoom);
    }
    this.view.zoom = zoom;
    this.pan(0, 0);
  }

  fit() {
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.draw();
  }

  /** Moves the picture by pixels of the page; its middle stays in the stage. */
  pan(right, down) {
    const [wide, tall] = this.fitted();
    const { zoom } = this.view;
    const within = (value) => (zoom === 1 ? 0.5 : Math.min(1, Math.max(0, value)));
    this.view.x = within(this.view.x - right / (wide * zoom));
    this.view.y = within(this.view.y - down / (tall * zoom));
    this.draw();
  }

  /** Width and height of the picture in the page where it isn't enlarged. */
  fitted() {
    const [tall, wide] = this.size();
    const scale = Math.min(this.stage.clientWidth / wide, this.stage.clientHeight / tall);
    return [wide * scale, tall * scale];
  }

  key(event) {
    const move = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") this.zoom(2);
    else if (event.key === "-") this.zoom(0.5);
    else if (event.key === "0") this.fit();
    else if (move && this.view.zoom > 1) this.pan(40 * move[0], 40 * move[1]);
    else return;
    event.preventDefault();
  }

  /** One pointer moves the line or, where zoomed, the picture; two zoom, and so does Ctrl + wheel. */
  listenToPointers() {
    const { stage } = this;
    const down = new Map();
    let moving;
    const divide = (event) => {
      const { left, width } = stage.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
      this.find("divider").value = String(100 * share);
      this.draw();
    };
    const fromMiddle = (event) => {
      const box = stage.getBoundingClientRect();
      return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
    };
    const spread = () => {
      const [one, other] = [...down.values()];
      return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    };
    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      stage.setPointerCapture(event.pointerId);
      down.set(event.pointerId, event);
      const { left, width } = stage.getBoundingClientRect();
      const line = left + (width * Number(this.find("divider").value)) / 100;
      moving = this.view.zoom === 1 || Math.abs(event.clientX - line) < 16 ? "line" : "picture";
      if (moving === "line" && down.size === 1) divide(event);
    });
    stage.addEventListener("pointermove", (event) => {
      const former = down.get(event.pointerId);
      if (!former) return;
      const before = down.size === 2 ? spread() : 0;
      down.set(event.pointerId, event);
      if (before) this.zoom(spread() / before, fromMiddle(event));
      else if (moving === "line") divide(event);
      else this.pan(event.clientX - former.clientX, event.clientY - former.clientY);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, (event) => down.delete(event.pointerId));
    }
    stage.addEventListener("dblclick", (event) => this.zoom(2, fromMiddle(event)));
    stage.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoom(2 ** (-event.deltaY / 200), fromMiddle(event));
      },
      { passive: false },
    );
  }
}

const viewers = {};
for (const root of document.querySelectorAll(".viewer")) {
  viewers[root.dataset.direction] = new Viewer(root);
}
for (const place of document.querySelectorAll("[data-look]")) {
  const [direction, number] = place.dataset.look.split(" ");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "link";
  button.textContent = place.textContent;
  button.addEventListener("click", () => {
    viewers[direction].show(Number(number));
    viewers[direction].root.scrollIntoView();
    viewers[direction].stage.focus({ preventScroll: true });
  });
  place.replaceChildren(button);
}
