// The form: what to draw and how. Only what the user set is sent; placeholders show what is used otherwise.

import { api, ApiError } from "./api.js";
import { $, CROSS, announce, debounce, el, plain, words } from "./dom.js";
import { keep, kept } from "./keep.js";
import { Mask } from "./mask.js";
import { Models } from "./models.js";
import { load } from "./picture.js";
import { Controls, Loras } from "./rows.js";

/** What is used where neither the user nor the model says anything. */
const USUAL = { negative_prompt: "What the picture should not show", preview_every: 2 };

/** Fields of which the server must be told although the user did not set them, for the page's own sake. */
const OWN = (request) => {
  request.preview_every ??= USUAL.preview_every;
  if (request.preview_every === 0) delete request.preview_every;
  // Each picture has a seed of its own then, which draws it again.
  if (request.count > 1 && request.only === undefined) request.seeds ??= "each";
};

const fields = () => Array.from($("form").querySelectorAll("[data-field]"));
const imageFields = () => Array.from($("form").querySelectorAll("[data-image]"));

/** A number, or what was typed instead; the server says what is wrong with that. */
function number(text) {
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
}

export class Form {
  capabilities = null;
  models = new Models();
  loras = new Loras();
  controls = new Controls();
  mask = new Mask();
  start = null;
  extras = {};
  #tokens = { prompt: null, negative: null };
  onsubmit = () => {};

  constructor() {
    const form = $("form");
    form.addEventListener("submit", (event) => { event.preventDefault(); this.onsubmit(); });
    form.addEventListener("input", (event) => this.#changed(event.target));
    form.addEventListener("change", (event) => this.#changed(event.target));
    for (const which of ["prompt", "negative"]) {
      const later = debounce(() => this.#count(which), 250);
      $(which).addEventListener("input", later);
      $("model").addEventListener("change", later);
      $("emphasis").addEventListener("change", later);
    }
    addEventListener("pagehide", () => { if (this.capabilities) keep("settings", this.#values()); });
    this.models.onchange = () => this.#suit();
    this.models.onerror = (error) => this.complain(error, "model");
    this.loras.onchange = () => this.#save();
    this.controls.onerror = (error) => this.complain(error, "controls");
    $("swap").addEventListener("click", () => this.#swap());
    $("seed-random").addEventListener("click", () => { $("seed").value = ""; this.#changed($("seed")); });
    $("reset").addEventListener("click", () => this.reset());
    $("start-choose").addEventListener("click", () => $("start-file").click());
    $("start-replace").addEventListener("click", () => $("start-file").click());
    $("start-remove").addEventListener("click", () => { this.setStart(null); $("start-choose").focus(); });
    $("start-file").addEventListener("change", (event) => this.#chosen(event.target, (file) => this.startFrom(file)));
    $("mask-toggle").addEventListener("click", () => this.#showMask(!this.mask.shown));
    this.mask.onchange = () => this.#masked();
  }

  /** Fills in what the server offers, then what was kept. */
  offer(capabilities, models) {
    this.capabilities = capabilities;
    const option = ({ name, label }) => el("option", { value: name, textContent: label });
    $("sampler").replaceChildren(el("option", { value: "", textContent: "Model’s own" }), ...capabilities.samplers.map(option));
    $("spread").replaceChildren(el("option", { value: "", textContent: "As usual" }), ...capabilities.spreads.map(option));
    $("emphasis").replaceChildren(...capabilities.emphases.map((one, idx) => option({ ...one, name: idx ? one.name : "" })));
    this.loras.offer(capabilities.loras);
    this.controls.offer(capabilities.controlnets, capabilities.preprocess);
    $("count").max = capabilities.pictures;
    $("steps").max = capabilities.steps;
    this.models.offer(models, capabilities.downloads);
    this.apply(kept("settings", {}), { quietly: true });
  }

  /** Placeholders as the model has it. */
  #suit() {
    const model = this.models.current;
    if (!model || !this.capabilities) return;
    for (const [id, side] of [["width", 0], ["height", 1]]) {
      $(id).placeholder = model.size?.[side] ?? "";
      $(id).step = $(id).min = model.multiple;
    }
    $("steps").placeholder = model.recommended.steps ?? this.capabilities.usual_steps;
    $("guidance").placeholder = model.recommended.guidance ?? this.capabilities.usual_guidance;
    $("negative").placeholder = model.recommended.negative_prompt ?? USUAL.negative_prompt;
    const suited = model.recommended.scheduler;
    const usual = this.capabilities.samplers.find((sampler) => sampler.name === suited)?.label ?? suited;
    $("sampler").options[0].textContent = usual ? `${usual}, the model’s own` : "Model’s own";
    $("spread").disabled = !$("sampler").value;
  }

  // Values

  #changed(target) {
    this.#clear(target);
    if (target.id === "sampler") this.#suit();
    this.#save();
  }

  #save = debounce(() => keep("settings", this.#values()), 200);

  /** What the user set, by the names of a job's fields. */
  #values() {
    const values = {};
    for (const field of fields()) {
      const text = field.value.trim();
      if (text === "") continue;
      values[field.dataset.field] = field.type === "number" ? number(text) : field.tagName === "TEXTAREA" ? field.value : text;
    }
    if ($("sampler").value) values.scheduler = $("sampler").value + ($("spread").value ? `-${$("spread").value}` : "");
    if (!$("safety").checked) values.no_safety_check = true;
    const loras = this.loras.values;
    if (loras.length) values.loras = loras;
    return { ...this.extras, ...values };
  }

  /** Sets fields, and clears those that are not named. What the form has no field for is kept and shown. */
  apply(values, { quietly = false } = {}) {
    const left = { ...values };
    const take = (name) => { const value = left[name]; delete left[name]; return value; };
    const model = take("model");
    if (this.models.all.some((known) => known.name === model)) $("model").value = model;
    // The model's own size is left to the model.
    const own = this.models.current?.size;
    if (own && left.width === own[0] && left.height === own[1]) left.width = left.height = null;
    for (const field of fields()) {
      if (field.dataset.field === "model") continue;
      const value = take(field.dataset.field);
      field.value = value ?? "";
      // A choice that this list does not have.
      if (field.tagName === "SELECT" && value && field.value !== String(value)) field.value = "";
    }
    this.#applySampler(take("scheduler"), left);
    $("safety").checked = !take("no_safety_check");
    this.loras.values = take("loras") ?? [];
    this.extras = Object.fromEntries(Object.entries(left).filter(([, value]) => value !== null));
    this.#listExtras();
    this.#suit();
    for (const which of ["prompt", "negative"]) this.#count(which);
    if (!quietly) {
      this.clearErrors();
      this.#save();
    }
  }

  /** What is set for the start picture, which itself is not kept anywhere. */
  applyStart(start) {
    for (const field of imageFields()) {
      const value = start[field.dataset.image] ?? "";
      field.value = value;
      if (field.value !== String(value)) field.value = "";
    }
  }

  #applySampler(name, left) {
    const { samplers, spreads } = this.capabilities;
    const fits = (sampler) => name === sampler.name || spreads.some((spread) => name === `${sampler.name}-${spread.name}`);
    const sampler = name && samplers.find(fits);
    $("sampler").value = sampler ? sampler.name : "";
    $("spread").value = sampler ? name.slice(sampler.name.length + 1) : "";
    if (name && !sampler) left.scheduler = name;
  }

  #listExtras() {
    const names = Object.keys(this.extras);
    $("extras").hidden = !names.length;
    $("extra-list").replaceChildren(...names.map((name) => {
      const value = this.extras[name];
      const text = `${name.replaceAll("_", " ")}: ${words(value)}`;
      const button = el("button", { type: "button", className: "icon", innerHTML: CROSS, "aria-label": `Leave out ${name}` });
      button.addEventListener("click", () => {
        delete this.extras[name];
        this.#listExtras();
        this.#save();
        ($("extra-list").querySelector("button") ?? $("reset")).focus();
      });
      return el("li", {}, el("span", { textContent: text }), button);
    }));
  }

  reset() {
    const prompt = $("prompt").value;
    this.apply({ prompt });
    for (const field of imageFields()) field.value = "";
    $("settings-note").hidden = true;
    announce("Settings are as usual again");
  }

  setSeed(seed) {
    $("seed").value = seed;
    this.#changed($("seed"));
  }

  #swap() {
    const model = this.models.current;
    const [width, height] = [$("width"), $("height")].map((side, idx) => side.value || String(model?.size?.[idx] ?? ""));
    $("width").value = height;
    $("height").value = width;
    this.#changed($("width"));
  }

  /** The request, with pictures. */
  async request() {
    const wrong = Array.from($("form").querySelectorAll("input")).find((input) => input.validity.badInput);
    if (wrong) throw new ApiError("This is no number.", { field: wrong.dataset.field ?? wrong.dataset.image });
    const request = this.#values();
    keep("settings", request);
    const controls = this.controls.values;
    OWN(request);
    if (this.start) {
      request.image = { image: this.start.image, file: this.start.name };
      const mask = this.mask.shown ? await this.mask.image() : null;
      if (mask) request.image.mask = mask;
      for (const field of imageFields()) {
        const name = field.dataset.image;
        if (field.value === "" || (!mask && (name === "mask_blur" || name === "only_masked"))) continue;
        request.image[name] = field.type === "number" ? number(field.value) : field.value;
      }
    }
    if (controls.length) request.controls = controls;
    if (request.seed !== undefined) {
      // It stays text until it is sent, as numbers of JavaScript's end at 2^53.
      if (!/^\d+$/.test(request.seed)) throw new ApiError("A seed is a whole number, such as 42; leave it empty for a random one.", { field: "seed" });
    }
    return request;
  }

  // Tokens

  async #count(which) {
    const output = $(`${which}-tokens`);
    this.#tokens[which]?.abort();
    const prompt = $(which).value;
    if (!prompt.trim()) {
      output.textContent = "";
      return;
    }
    const stop = this.#tokens[which] = new AbortController();
    const request = { prompt, model: $("model").value || undefined, emphasis: $("emphasis").value || undefined };
    try {
      const about = await api.tokens(request, stop.signal);
      const parts = about.windows > 1 ? `, in ${about.windows} parts` : "";
      const cut = about.cut ? `, ${about.cut} cut off` : "";
      output.textContent = `${about.tokens} of ${about.room} tokens${parts}${cut}`;
      const share = about.tokens / about.room;
      output.className = `tokens ${about.cut ? "over" : share > 65 / 75 ? "near" : "fits"}`;
    } catch (error) {
      if (error.name === "AbortError") return;
      output.textContent = "";
      if (error.field) this.complain(error);
    }
  }

  // Start picture and mask

  #chosen(input, use) {
    const file = input.files[0];
    input.value = "";
    if (file) use(file);
  }

  async startFrom(blob, name = blob.name) {
    try {
      this.setStart(await load(blob, name));
      announce(`Starts from ${name ?? "the picture"}`);
    } catch (error) {
      this.complain(error, "image");
    }
  }

  setStart(picture) {
    if (this.start) URL.revokeObjectURL(this.start.url);
    this.start = picture;
    $("start-drop").hidden = Boolean(picture);
    $("start-chosen").hidden = !picture;
    this.#clear($("start"));
    $("start-error").textContent = "";
    if (!picture) return this.#showMask(false);
    $("start-picture").src = picture.url;
    this.mask.fit(picture.width, picture.height);
    this.#showMask(false);
  }

  #showMask(shown) {
    this.mask.shown = shown;
    $("mask-tools").hidden = !shown;
    $("mask-toggle").setAttribute("aria-expanded", shown);
    $("mask-toggle").textContent = shown ? "Without a mask" : "Paint a mask";
    this.#masked();
    if (shown) $("mask-canvas").focus({ preventScroll: true });
  }

  #masked() {
    const painted = this.mask.shown && this.mask.share > 0;
    $("strength").placeholder = painted ? "1" : "0.5";
  }

  // Errors

  #clear(target) {
    const name = target.dataset?.field ?? target.dataset?.image;
    target.removeAttribute?.("aria-invalid");
    for (const error of $("form").querySelectorAll("[data-error]")) {
      if (name && (error.dataset.error.split(" ").includes(name) || target.getAttribute("aria-describedby")?.includes(error.id))) error.textContent = "";
    }
    if (target.id === "sampler" || target.id === "spread") $("scheduler-error").textContent = "";
    $("form-error").textContent = "";
  }

  clearErrors() {
    for (const error of $("form").querySelectorAll(".error")) error.textContent = "";
    for (const field of $("form").querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  }

  /** Shows what is wrong where it belongs, or above the button. */
  complain(error, field = error.field ?? named(error)) {
    const place = field && Array.from($("form").querySelectorAll("[data-error]")).find((one) => one.dataset.error.split(" ").includes(field));
    const message = plain(error, field);
    if (!place) {
      $("form-error").textContent = message;
      return;
    }
    place.textContent = message;
    place.closest("details")?.setAttribute("open", "");
    const at = $("form").querySelector(`[aria-describedby~="${place.id}"]`);
    at?.setAttribute("aria-invalid", "true");
    (at ?? place).scrollIntoView({ block: "center" });
    at?.focus({ preventScroll: true });
    announce(message);
  }
}

/** The field that a message begins with, where the server does not name it apart. */
function named(error) {
  const name = /^the request: (\w+)/.exec(error.message)?.[1];
  return name && document.querySelector(`[data-error~="${name}"]`) ? name : null;
}
