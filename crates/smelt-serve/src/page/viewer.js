// A picture at full size with its settings, and two of them compared.

import { api } from "./api.js";
import { $, announce, el, plain, toast, words } from "./dom.js";
import { thumb } from "./gallery.js";

/** Names of settings as people say them; what is not here is shown by its own name. */
const NAMES = {
  negative_prompt: "Negative", steps: "Steps", guidance_scale: "Guidance", scheduler: "Sampler", start: "Started from", loras: "LoRAs",
  controls: "Guided by", image_idx: "Picture", seeds: "Seeds", emphasis: "Language", random: "Random numbers", software: "Software",
};
const LEFT_OUT = new Set(["prompt", "width", "height", "seed", "model", "image_count"]);

export class Viewer {
  #gallery;
  #at = null;
  #other = null;
  #opener = null;
  onsettings = () => {};
  onseed = () => {};
  onstart = () => {};
  onlarger = () => {};

  constructor(gallery) {
    this.#gallery = gallery;
    const dialog = $("viewer");
    $("viewer-close").addEventListener("click", () => dialog.close());
    $("viewer-previous").addEventListener("click", () => this.#go(-1));
    $("viewer-next").addEventListener("click", () => this.#go(1));
    $("compare-toggle").addEventListener("click", () => this.#choose($("compare-choices").hidden));
    $("compare-at").addEventListener("input", () => this.#cut());
    $("compare").addEventListener("pointermove", (event) => this.#drag(event));
    $("compare").addEventListener("pointerdown", (event) => this.#drag(event, true));
    $("copy").hidden = !navigator.clipboard?.write || typeof ClipboardItem === "undefined";
    $("copy").addEventListener("click", () => this.#copy());
    $("delete").addEventListener("click", () => this.#delete());
    $("use-settings").addEventListener("click", () => this.#use(this.onsettings));
    $("use-seed").addEventListener("click", () => this.#use(this.onseed));
    $("use-start").addEventListener("click", () => this.#use(this.onstart));
    $("upscale").addEventListener("click", () => this.#use((picture) => this.onlarger(picture, $("upscaler").value)));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => {
      this.#choose(false);
      if (this.#opener?.isConnected) this.#opener.focus();
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.target.matches("input, textarea, select")) return;
      if (event.key === "ArrowLeft") this.#go(-1);
      else if (event.key === "ArrowRight") this.#go(1);
      else if (event.key === "Delete") this.#delete();
      else return;
      event.preventDefault();
    });
  }

  /** By what pictures are made larger. */
  offer(upscalers) {
    const filters = [["lanczos", "Twice as large, smooth"], ["nearest", "Twice as large, sharp pixels"]];
    const all = [...upscalers.map((name) => [name, name]), ...filters];
    $("upscaler").replaceChildren(...all.map(([value, textContent]) => el("option", { value, textContent })));
  }

  async open(id, opener) {
    this.#opener = opener;
    try {
      const picture = this.#gallery.seen.find((one) => one.id === id) ?? (await api.about(id));
      this.#show(picture);
    } catch (error) {
      return toast(plain(error));
    }
    $("viewer").showModal();
    $("viewer-title").focus();
  }

  get #place() {
    return this.#gallery.seen.findIndex((one) => one.id === this.#at.id);
  }

  #go(by) {
    const next = this.#gallery.seen[this.#place + by];
    if (!next || this.#place < 0) return;
    const focused = document.activeElement;
    this.#show(next);
    if (focused.disabled) $("viewer-title").focus();
    announce(`${next.prompt || "Picture"}, ${this.#place + 1} of ${this.#gallery.seen.length}`);
  }

  #show(picture) {
    this.#at = picture;
    const title = picture.prompt || "Picture";
    $("viewer-title").textContent = title;
    $("viewer-prompt").textContent = picture.prompt;
    const image = $("viewer-image");
    image.src = picture.url;
    image.alt = title;
    $("download").href = picture.url;
    $("download").download = picture.file;
    $("use-seed").disabled = picture.seed === null;
    $("use-settings").disabled = picture.settings === null;
    const [place, n] = [this.#place, this.#gallery.seen.length];
    $("viewer-place").textContent = place < 0 ? "" : `${place + 1} of ${n}`;
    $("viewer-previous").disabled = place <= 0;
    $("viewer-next").disabled = place < 0 || place + 1 >= n;
    $("viewer-about").replaceChildren(...rows(picture));
    if (this.#other) this.#with(this.#other.id === picture.id ? null : this.#other);
    if (!$("compare-choices").hidden) this.#list();
  }

  async #use(act) {
    const picture = this.#at;
    $("viewer").close();
    try {
      await act(picture);
    } catch (error) {
      toast(plain(error));
    }
  }

  async #copy() {
    try {
      const { url } = this.#at;
      const png = api.file(url).then(async (blob) => (blob.type === "image/png" ? blob : converted(blob)));
      await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
      toast("Copied", { seconds: 3 });
    } catch (error) {
      toast(`It could not be copied: ${plain(error)}`);
    }
  }

  #delete() {
    const picture = this.#at;
    const place = this.#place;
    this.#gallery.hide(picture.id, true);
    const next = this.#gallery.seen[Math.min(place, this.#gallery.seen.length - 1)];
    if (next && place >= 0) {
      this.#show(next);
      $("viewer-title").focus();
    } else {
      this.#opener = $("search");
      $("viewer").close();
    }
    toast("Picture deleted", {
      label: "Undo",
      action: () => this.#gallery.hide(picture.id, false),
      end: async () => {
        try {
          await api.remove(picture.id, true);
          this.#gallery.forget(picture.id);
        } catch (error) {
          if (error.status === 404) return this.#gallery.forget(picture.id);
          this.#gallery.hide(picture.id, false);
          toast(plain(error));
        }
      },
    });
  }

  // Two pictures

  #choose(shown) {
    $("compare-choices").hidden = !shown;
    $("compare-toggle").setAttribute("aria-expanded", shown);
    if (!shown) return this.#with(null);
    this.#list();
    const near = this.#gallery.seen[this.#place + 1] ?? this.#gallery.seen[this.#place - 1];
    if (near) this.#with(near);
  }

  #list() {
    const others = this.#gallery.seen.filter((one) => one.id !== this.#at.id).slice(0, 40);
    $("compare-hint").textContent = others.length ? "Compare with:" : "There is no other picture yet.";
    $("compare-list").replaceChildren(...others.map((picture) => {
      const button = thumb(picture);
      button.setAttribute("aria-pressed", picture.id === this.#other?.id);
      button.addEventListener("click", () => this.#with(picture));
      button.dataset.id = picture.id;
      return el("li", {}, button);
    }));
  }

  #with(other) {
    this.#other = other;
    for (const id of ["viewer-other", "divider", "compare-at"]) $(id).hidden = !other;
    for (const button of $("compare-list").querySelectorAll("button")) button.setAttribute("aria-pressed", button.dataset.id === other?.id);
    if (!other) return;
    $("viewer-other").src = other.url;
    $("viewer-other").alt = `Compared with: ${other.prompt || "picture"}, seed ${other.seed}`;
    this.#cut();
  }

  #cut() {
    const at = $("compare-at").value;
    $("compare").style.setProperty("--cut", `${at}%`);
    $("compare-at").setAttribute("aria-valuetext", `${at} % of the first picture`);
  }

  #drag(event, pressed = event.buttons === 1) {
    if (!this.#other || !pressed) return;
    const box = $("compare").getBoundingClientRect();
    $("compare-at").value = Math.round(((event.clientX - box.left) / box.width) * 100);
    this.#cut();
    event.preventDefault();
  }
}

async function converted(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Settings as terms and descriptions. */
function rows(picture) {
  const all = [["Size", `${picture.width} × ${picture.height}`], ["Seed", picture.seed], ["Model", picture.model]];
  const order = Object.keys(NAMES);
  const place = ([name]) => (order.includes(name) ? order.indexOf(name) : order.length - 4);
  for (const [name, value] of Object.entries(picture.settings ?? {}).sort((a, b) => place(a) - place(b))) {
    if (LEFT_OUT.has(name) || (name === "image_idx" && !picture.settings.image_count) || value === null || value === "" || (Array.isArray(value) && !value.length)) continue;
    const text = name === "image_idx" ? `${value + 1} of ${picture.settings.image_count}` : words(value);
    all.push([NAMES[name] ?? name.replaceAll("_", " "), text]);
  }
  all.push(["Drawn", new Date(picture.created * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })]);
  return all.filter(([, value]) => value !== null && value !== "").flatMap(([name, value]) => [el("dt", { textContent: name }), el("dd", { textContent: String(value) })]);
}
