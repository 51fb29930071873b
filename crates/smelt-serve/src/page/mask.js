// The mask: painted over the start picture by pointer or keys, in the picture's own pixels.

import { $, announce } from "./dom.js";

const UNDO = 20;

export class Mask {
  #canvas = $("mask-canvas");
  #brush = $("mask-brush");
  #context = this.#canvas.getContext("2d", { willReadFrequently: true });
  #undo = [];
  #at = { x: 0, y: 0 };
  #last = null;
  #erases = false;
  onchange = () => {};

  constructor() {
    const canvas = this.#canvas;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.#remember();
      this.#move(event);
      this.#last = null;
      this.#paint();
      event.preventDefault();
      canvas.focus({ preventScroll: true });
    });
    canvas.addEventListener("pointermove", (event) => {
      this.#move(event);
      if (canvas.hasPointerCapture(event.pointerId)) this.#paint();
    });
    canvas.addEventListener("pointerup", () => { this.#last = null; this.onchange(); });
    canvas.addEventListener("pointerleave", () => { if (document.activeElement !== canvas) this.#brush.hidden = true; });
    canvas.addEventListener("focus", () => this.#show());
    canvas.addEventListener("blur", () => { this.#brush.hidden = true; });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    $("mask-size").addEventListener("input", () => this.#show());
    $("mask-eraser").addEventListener("click", () => this.#erase(!this.#erases));
    $("mask-undo").addEventListener("click", () => this.undo());
    $("mask-invert").addEventListener("click", () => this.invert());
    $("mask-clear").addEventListener("click", () => this.clear());
    new ResizeObserver(() => { if (!this.#brush.hidden) this.#show(); }).observe(canvas);
  }

  /** Begins anew for a picture of this size. */
  fit(width, height) {
    Object.assign(this.#canvas, { width, height });
    this.#undo = [];
    this.#at = { x: width / 2, y: height / 2 };
    this.#erase(false);
    this.onchange();
  }

  set shown(shown) {
    this.#canvas.hidden = !shown;
    if (!shown) this.#brush.hidden = true;
  }

  get shown() {
    return !this.#canvas.hidden;
  }

  /** Share of the picture that is painted. */
  get share() {
    const { data } = this.#pixels();
    let painted = 0;
    for (let at = 3; at < data.length; at += 4) painted += data[at] > 127;
    return painted / (data.length / 4);
  }

  /** White where it is painted, as base64 of a PNG; null where nothing is. */
  async image() {
    const pixels = this.#pixels();
    let painted = 0;
    for (let at = 0; at < pixels.data.length; at += 4) {
      const level = pixels.data[at + 3] > 127 ? 255 : 0;
      painted += level;
      pixels.data.set([level, level, level, 255], at);
    }
    if (!painted) return null;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: pixels.width, height: pixels.height });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
  }

  clear() {
    this.#remember();
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#changed("Mask cleared");
  }

  invert() {
    this.#remember();
    const pixels = this.#pixels();
    const [r, g, b] = this.#colour().match(/\d+/g).map(Number);
    for (let at = 0; at < pixels.data.length; at += 4) pixels.data.set([r, g, b, pixels.data[at + 3] > 127 ? 0 : 255], at);
    this.#context.putImageData(pixels, 0, 0);
    this.#changed("Mask inverted");
  }

  undo() {
    const before = this.#undo.pop();
    if (!before) return announce("Nothing to undo");
    this.#context.putImageData(before, 0, 0);
    this.#changed("Undone");
  }

  #changed(text) {
    announce(`${text}; ${Math.round(this.share * 100)} % is painted`);
    this.onchange();
  }

  #pixels() {
    return this.#context.getImageData(0, 0, this.#canvas.width, this.#canvas.height);
  }

  #remember() {
    this.#undo.push(this.#pixels());
    if (this.#undo.length > UNDO) this.#undo.shift();
  }

  #colour() {
    return getComputedStyle(document.documentElement).getPropertyValue("--mask");
  }

  #erase(erases) {
    this.#erases = erases;
    $("mask-eraser").setAttribute("aria-pressed", erases);
  }

  /** Pixels of the picture from side to side of the brush. */
  get #diameter() {
    return Math.max(1, (Number($("mask-size").value) / 100) * Math.max(this.#canvas.width, this.#canvas.height));
  }

  #move(event) {
    const box = this.#canvas.getBoundingClientRect();
    this.#at = {
      x: ((event.clientX - box.left) / box.width) * this.#canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.#canvas.height,
    };
    this.#show();
  }

  #show() {
    const scale = this.#canvas.clientWidth / this.#canvas.width || 1;
    const side = this.#diameter * scale;
    this.#brush.hidden = !this.shown;
    this.#brush.style.width = this.#brush.style.height = `${side}px`;
    this.#brush.style.transform = `translate(${this.#at.x * scale - side / 2}px, ${this.#at.y * scale - side / 2}px)`;
  }

  #paint() {
    const context = this.#context;
    const from = this.#last ?? this.#at;
    context.globalCompositeOperation = this.#erases ? "destination-out" : "source-over";
    context.strokeStyle = this.#colour();
    context.lineWidth = this.#diameter;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(this.#at.x + 0.01, this.#at.y);
    context.stroke();
    context.globalCompositeOperation = "source-over";
    this.#last = { ...this.#at };
  }

  #key(event) {
    const step = Math.max(1, this.#diameter / 4);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const move = moves[event.key];
    if (move) {
      if (event.shiftKey) {
        this.#remember();
        this.#last = { ...this.#at };
      }
      this.#at.x = Math.min(Math.max(0, this.#at.x + move[0]), this.#canvas.width);
      this.#at.y = Math.min(Math.max(0, this.#at.y + move[1]), this.#canvas.height);
      if (event.shiftKey) this.#paint();
      this.#show();
      const place = [this.#at.x / this.#canvas.width, this.#at.y / this.#canvas.height].map((at) => Math.round(at * 100));
      announce(`${place[0]} % from the left, ${place[1]} % from the top`);
    } else if (event.key === " " || (event.key === "Enter" && !event.ctrlKey && !event.metaKey)) {
      this.#remember();
      this.#last = null;
      this.#paint();
      this.#changed(this.#erases ? "Erased" : "Painted");
    } else if (event.key === "e" && !event.ctrlKey && !event.metaKey) {
      this.#erase(!this.#erases);
      announce(this.#erases ? "Eraser" : "Brush");
    } else if (event.key === "[" || event.key === "]") {
      const range = $("mask-size");
      range.value = Number(range.value) + (event.key === "]" ? 5 : -5);
      this.#show();
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      this.undo();
    } else {
      return;
    }
    event.preventDefault();
  }
}
