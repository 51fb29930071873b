// Finished pictures: the newest first, searched, more on demand.

import { api } from "./api.js";
import { $, debounce, el, plain } from "./dom.js";

const PART = 48;

export class Gallery {
  /** Those that are listed, as the server tells of them. */
  pictures = [];
  #total = 0;
  #asked = 0;
  #hidden = new Set();
  onopen = () => {};
  onforget = () => {};

  constructor() {
    $("search").addEventListener("input", debounce(() => this.reload(), 250));
    $("more").addEventListener("click", () => this.#more());
  }

  async reload() {
    const asked = ++this.#asked;
    try {
      const found = await api.pictures($("search").value, 0, PART);
      if (asked !== this.#asked) return;
      this.pictures = found.pictures;
      this.#total = found.total;
      this.#show();
    } catch (error) {
      this.#empty(plain(error));
    }
  }

  async #more() {
    const before = this.pictures.length;
    const found = await api.pictures($("search").value, before, PART);
    const known = new Set(this.pictures.map((picture) => picture.id));
    this.pictures.push(...found.pictures.filter((picture) => !known.has(picture.id)));
    this.#total = found.total;
    this.#show();
    $("gallery").children[before]?.querySelector("button").focus();
  }

  /** A picture that was finished just now. */
  async add(id) {
    if ($("search").value.trim()) return this.reload();
    const about = await api.about(id);
    if (this.pictures.some((picture) => picture.id === id)) return;
    this.pictures.unshift(about);
    this.#total += 1;
    this.#show();
  }

  /** Takes a picture out of sight, or back. */
  hide(id, hidden) {
    if (hidden) this.#hidden.add(id);
    else this.#hidden.delete(id);
    this.#show();
  }

  /** The picture is gone. */
  forget(id) {
    const before = this.pictures.length;
    this.pictures = this.pictures.filter((picture) => picture.id !== id);
    this.#total -= before - this.pictures.length;
    this.#hidden.delete(id);
    this.#show();
    this.onforget(id);
  }

  /** Those that are seen. */
  get seen() {
    return this.pictures.filter((picture) => !this.#hidden.has(picture.id));
  }

  #show() {
    const seen = this.seen;
    const list = $("gallery");
    const tiles = new Map(Array.from(list.children, (tile) => [tile.dataset.id, tile]));
    // Tiles stay where they are known, so that pictures do not flicker and the focus stays.
    seen.forEach((picture, idx) => {
      const tile = tiles.get(picture.id) ?? this.#tile(picture);
      tiles.delete(picture.id);
      if (list.children[idx] !== tile) list.insertBefore(tile, list.children[idx] ?? null);
    });
    for (const tile of tiles.values()) tile.remove();
    const total = this.#total - this.#hidden.size;
    $("gallery-count").textContent = total ? String(total) : "";
    $("more").hidden = this.pictures.length >= this.#total;
    const search = $("search").value.trim();
    this.#empty(seen.length ? "" : search ? `No picture is found for “${search}”.` : "Pictures appear here when they are finished.");
  }

  #empty(text) {
    $("gallery-empty").hidden = !text;
    $("gallery-empty").textContent = text;
  }

  #tile(picture) {
    const button = thumb(picture);
    button.addEventListener("click", () => this.onopen(picture.id, button));
    const tile = el("li", {}, button);
    tile.dataset.id = picture.id;
    return tile;
  }
}

/** A small picture to press. */
export function thumb(picture) {
  const alt = picture.prompt || `Picture, seed ${picture.seed ?? "unknown"}`;
  const image = el("img", { src: picture.url, alt, loading: "lazy", decoding: "async" });
  return el("button", { type: "button", title: picture.prompt }, image);
}
