// Rows that the user adds: LoRAs, and pictures that guide by ControlNets.

import { $, el } from "./dom.js";
import { load } from "./picture.js";

const options = (all) => all.map(({ name, label }) => el("option", { value: name, textContent: label }));

/** LoRAs with their strengths. */
export class Loras {
  #known = [];
  onchange = () => {};

  constructor() {
    $("lora-add").addEventListener("click", () => {
      this.#add().querySelector("select").focus();
      this.onchange();
    });
  }

  offer(names) {
    this.#known = names;
    $("loras").hidden = !names.length;
  }

  get values() {
    return Array.from($("lora-rows").children, (row) => ({
      name: row.querySelector(".name").value,
      strength: Number(row.querySelector(".strength").value || 1),
    }));
  }

  set values(loras) {
    $("lora-rows").replaceChildren();
    for (const lora of loras) if (this.#known.includes(lora.name)) this.#add(lora);
  }

  #add({ name, strength = 1 } = {}) {
    const row = $("lora-row").content.firstElementChild.cloneNode(true);
    row.querySelector(".name").append(...options(this.#known.map((known) => ({ name: known, label: known }))));
    if (name) row.querySelector(".name").value = name;
    row.querySelector(".strength").value = strength;
    row.querySelector(".remove").addEventListener("click", () => {
      row.remove();
      this.onchange();
      $("lora-add").focus();
    });
    $("lora-rows").append(row);
    return row;
  }
}

/** Pictures that guide. */
export class Controls {
  #known = [];
  #preprocess = [];
  #all = [];
  onerror = () => {};

  constructor() {
    $("control-add").addEventListener("click", () => this.add().querySelector(".choose").focus());
  }

  offer(names, preprocess) {
    this.#known = names.map((name) => ({ name, label: name }));
    this.#preprocess = preprocess;
    $("controls").hidden = !names.length;
    $("drop-control").hidden = !names.length;
  }

  /** As a request has them; those without a picture are left out. */
  get values() {
    return this.#all.filter(({ picture }) => picture).map(({ row, picture }) => {
      const value = (name) => row.querySelector(`.${name}`).value;
      const control = { controlnet: value("name"), image: picture.image };
      if (value("preprocess")) control.preprocess = value("preprocess");
      if (value("weight")) control.weight = Number(value("weight"));
      return control;
    });
  }

  add(file = null) {
    const row = $("control-row").content.firstElementChild.cloneNode(true);
    const control = { row, picture: null };
    row.querySelector(".name").append(...options(this.#known));
    row.querySelector(".preprocess").append(...options(this.#preprocess));
    const input = row.querySelector("input[type=file]");
    row.querySelector(".choose").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files[0]) this.#use(control, input.files[0]);
      input.value = "";
    });
    row.querySelector(".remove").addEventListener("click", () => {
      row.remove();
      this.#all = this.#all.filter((other) => other !== control);
      $("control-add").focus();
    });
    this.#all.push(control);
    $("control-rows").append(row);
    if (file) this.#use(control, file);
    return row;
  }

  async #use(control, file) {
    try {
      control.picture = await load(file, file.name);
    } catch (error) {
      return this.onerror(error);
    }
    const image = control.row.querySelector("img");
    image.src = control.picture.url;
    image.hidden = false;
    control.row.querySelector(".choose").textContent = "Replace";
  }
}
