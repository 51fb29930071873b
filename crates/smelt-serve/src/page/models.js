// The models: which one draws, what it is, and what brings it into memory or onto this machine.

import { api, ApiError } from "./api.js";
import { $, announce, count, el, size } from "./dom.js";
import { keep, kept } from "./keep.js";

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Models {
  all = [];
  #download = null;
  /** Another model is chosen, or more is known of it. */
  onchange = () => {};
  onerror = () => {};

  constructor() {
    $("model").addEventListener("change", () => this.#tell());
    $("models-refresh").addEventListener("click", () => this.#refresh());
    $("model-load").addEventListener("click", () => this.#load());
    $("model-download").addEventListener("click", () => this.#ask());
    $("download-dialog-cancel").addEventListener("click", () => $("download-dialog").close());
    $("download-form").addEventListener("submit", (event) => this.#begin(event));
    $("download-cancel").addEventListener("click", () => this.#cancel());
  }

  /** The model that draws. */
  get current() {
    return this.all.find((model) => model.name === $("model").value) ?? this.all.find((model) => model.chosen);
  }

  offer(models, downloads) {
    $("model-download").hidden = !downloads;
    this.set(models);
    const job = kept("download", null);
    if (downloads && job) this.#follow(job);
  }

  set(models) {
    this.all = models;
    const chosen = $("model").value || kept("settings", {}).model;
    const label = (model) => `${model.loaded ? "●" : "○"} ${model.name}`;
    // An open list would close if it were made anew without need.
    const shown = Array.from($("model").options, (one) => one.textContent).join("\n");
    if (shown !== models.map(label).join("\n")) {
      $("model").replaceChildren(...models.map((model) => el("option", { value: model.name, textContent: label(model) })));
      const known = models.find((model) => model.name === chosen) ?? models.find((model) => model.chosen) ?? models[0];
      if (known) $("model").value = known.name;
    }
    this.#tell();
  }

  async reload() {
    try {
      this.set((await api.models()).models);
    } catch { /* They stay as they were. */ }
  }

  #tell() {
    const model = this.current;
    if (!model) return;
    const kind = model.kind === "packages" ? "Core ML packages" : "Checkpoint";
    const own = model.size ? `, ${model.size[0]} × ${model.size[1]}` : "";
    $("model-about").textContent = `${kind}${own}, ${size(model.bytes)}, ${model.loaded ? "in memory" : "not in memory"}`;
    if (!$("model-load").disabled) $("model-load").textContent = model.loaded ? "Unload" : "Load";
    this.onchange(model);
  }

  async #refresh() {
    try {
      this.set((await api.refreshModels()).models);
      announce(`${count(this.all.length, "model")} found`);
    } catch (error) {
      this.onerror(error);
    }
  }

  async #load() {
    const model = this.current;
    const button = $("model-load");
    button.disabled = true;
    button.textContent = model.loaded ? "Unloading" : "Loading";
    try {
      let job = await (model.loaded ? api.unloadModel(model.name) : api.loadModel(model.name));
      while (!job.finished) {
        await pause(500);
        job = await api.job(job.id);
      }
      if (job.error) throw new ApiError(job.error.message, { field: "model" });
    } catch (error) {
      this.onerror(error);
    }
    button.disabled = false;
    await this.reload();
  }

  // Downloads

  #ask() {
    $("source").value = "";
    $("source-error").textContent = "";
    $("download-dialog").showModal();
  }

  async #begin(event) {
    event.preventDefault();
    const name = $("source").value.trim().replace(/^https:\/\/huggingface\.co\//, "");
    try {
      const job = await api.download(name.startsWith("hf:") ? name : `hf:${name}`);
      $("download-dialog").close();
      this.#follow(job.id);
    } catch (error) {
      $("source-error").textContent = error.message;
      $("source").focus();
    }
  }

  async #cancel() {
    const job = this.#download;
    if (!job) return;
    $("download-cancel").disabled = true;
    await api.cancel(job).catch(() => {});
  }

  /** Shows how far it is, until it is over. It goes on when the page is left. */
  async #follow(id) {
    this.#download = id;
    keep("download", id);
    $("download").hidden = false;
    $("download-cancel").disabled = false;
    $("model-download").disabled = true;
    const bar = $("download-bar");
    bar.removeAttribute("value");
    try {
      for (;;) {
        const job = await api.job(id);
        const { step, n_steps, progress } = job.steps;
        $("download-label").textContent = `Downloading ${job.model}`;
        if (n_steps) {
          bar.value = progress || step / n_steps;
          $("download-text").textContent = `${size(step)} of ${size(n_steps)}`;
        }
        if (job.error) throw new ApiError(job.error.message, { field: "model" });
        if (job.finished) {
          announce(job.phase === "done" ? `${job.model} is here` : "The download is cancelled");
          break;
        }
        await pause(1000);
      }
    } catch (error) {
      if (error.status !== 404) this.onerror(error);
    }
    this.#download = null;
    keep("download", undefined);
    $("download").hidden = true;
    $("model-download").disabled = false;
    await this.#refresh();
  }
}
