// Puts the parts of the page together: form, jobs, gallery and viewer, what is dropped, and keys.

import { api, onKeyWanted, useKey } from "./api.js";
import { $, announce, count, el, hideToast, plain, toast } from "./dom.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";
import { Jobs } from "./jobs.js";
import { keepKey } from "./keep.js";
import { base64, pictureIn } from "./picture.js";
import { Viewer } from "./viewer.js";

/** What the model in the box knows, and what others do. */
const EMOJI = ["red heart", "rocket", "cat face", "pizza", "grinning face", "sunflower"];
const IDEAS = ["a lighthouse in a storm, oil painting", "a red fox in the snow", "a bowl of ramen, studio light", "a small house by the sea, watercolour"];

const form = new Form();
const gallery = new Gallery();
const jobs = new Jobs();
const viewer = new Viewer(gallery);

// Drawing

form.onsubmit = async () => {
  form.clearErrors();
  $("settings-note").hidden = true;
  const button = $("draw");
  button.disabled = true;
  try {
    // Nobody gave the key at first.
    if (!form.capabilities) await begin();
    jobs.take(await api.submit(await form.request()));
    const stage = $("stage").getBoundingClientRect();
    if (stage.bottom < 80 || stage.top > innerHeight - 80) $("stage").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  } catch (error) {
    form.complain(error);
  }
  button.disabled = false;
  if (document.activeElement === document.body) button.focus();
};

jobs.onpicture = (picture) => gallery.add(picture.id).catch(() => gallery.reload());
jobs.onopen = (id, opener) => viewer.open(id, opener);
jobs.ondrawing = () => form.models.reload();
gallery.onforget = (id) => jobs.forget(id);
gallery.onopen = (id, opener) => viewer.open(id, opener);

const idea = (idea) => {
  const button = el("button", { type: "button", textContent: idea });
  button.addEventListener("click", () => {
    $("prompt").value = idea;
    $("prompt").dispatchEvent(new Event("input", { bubbles: true }));
    form.onsubmit();
    $("prompt").focus({ preventScroll: true });
  });
  return el("li", {}, button);
};

// Settings of pictures

async function settingsOf(blob, name, start = null) {
  const about = await api.settings(await base64(blob));
  const { width, height, model, settings } = about;
  form.apply({ ...settings, model, width, height });
  if (start) form.applyStart(start);
  const note = $("settings-note");
  const from = about.tool ? ` (${about.tool})` : "";
  note.replaceChildren(el("p", { textContent: `Settings are taken over from ${name}${from}.` }));
  const known = !model || form.models.all.some((one) => one.name === model);
  const missing = [...(known ? [] : [`model: ${model} (it is not here; ${form.models.current?.name} draws instead)`]), ...about.not_taken];
  if (start && !form.start) missing.push(`start picture: ${start.file} (choose it again where it is wanted)`);
  if (missing.length) {
    note.append(el("p", { textContent: "Not taken over:" }), el("ul", {}, ...missing.map((line) => el("li", { textContent: line }))));
  }
  note.hidden = false;
  note.scrollIntoView({ block: "nearest" });
  $("prompt").focus();
}

async function readSettings(file) {
  try {
    await settingsOf(file, file.name ?? "the picture");
  } catch (error) {
    $("settings-note").replaceChildren(el("p", { className: "error", textContent: plain(error) }));
    $("settings-note").hidden = false;
    $("settings-note").scrollIntoView({ block: "nearest" });
  }
}

viewer.onsettings = async (picture) => settingsOf(await api.file(picture.url), "the picture", picture.settings.start);
viewer.onseed = async (picture) => {
  form.setSeed(picture.seed);
  $("seed").focus();
  announce(`Seed ${picture.seed} is set`);
};
viewer.onlarger = async (picture, upscaler) => {
  jobs.take(await api.upscale(await base64(await api.file(picture.url)), upscaler));
  $("stage").scrollIntoView({ block: "nearest" });
};
viewer.onstart = async (picture) => {
  await form.startFrom(await api.file(picture.url), picture.file);
  $("mask-toggle").focus();
};

$("settings-choose").addEventListener("click", () => $("settings-file").click());
$("settings-file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) readSettings(file);
  event.target.value = "";
});

// Dropped and pasted pictures

let depth = 0;
const hasFiles = (event) => Array.from(event.dataTransfer?.types ?? []).includes("Files");
const hideDrops = () => { depth = 0; $("drops").hidden = true; };

addEventListener("dragenter", (event) => {
  if (!hasFiles(event) || document.querySelector("dialog[open]")) return;
  depth += 1;
  $("drops").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!hasFiles(event)) return;
  depth -= 1;
  if (depth <= 0) hideDrops();
});
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  for (const target of document.querySelectorAll(".target")) target.classList.toggle("over", target === event.target);
});
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  hideDrops();
  const file = pictureIn(event.dataTransfer);
  if (!file) return toast("Only pictures can be dropped here.");
  const where = event.target.closest?.("[data-drop]")?.dataset.drop ?? "start";
  if (where === "settings") readSettings(file);
  else if (where === "control") form.controls.add(file);
  else form.startFrom(file);
});
addEventListener("paste", (event) => {
  const file = pictureIn(event.clipboardData);
  if (!file) return;
  event.preventDefault();
  form.startFrom(file, file.name || "pasted picture");
});

// Keys

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
$("draw-key").textContent = isMac ? "⌘↩" : "Ctrl+Enter";
addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.onsubmit();
  } else if (event.key === "Escape" && jobs.current && !event.target.matches("select, input[type=search]")) {
    jobs.cancelCurrent();
  }
});
addEventListener("pagehide", hideToast);

// Colours

const theme = $("theme");
theme.value = document.documentElement.dataset.theme ?? "auto";
theme.addEventListener("change", () => {
  const chosen = theme.value;
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try {
    if (chosen === "auto") localStorage.removeItem("smelt.theme");
    else localStorage.setItem("smelt.theme", chosen);
  } catch { /* It is chosen anew next time. */ }
});

// The key

onKeyWanted((wrong) => new Promise((resolve) => {
  const dialog = $("key-dialog");
  $("key-text").textContent = wrong ? "That key is not the one that the server was started with." : "Whoever started it chose the key.";
  $("key").value = "";
  let key = null;
  $("key-form").onsubmit = () => {
    key = $("key").value;
    useKey(key, $("key-remember").checked);
    keepKey(key, $("key-remember").checked);
  };
  $("key-cancel").onclick = () => dialog.close();
  dialog.addEventListener("close", () => resolve(key), { once: true });
  dialog.showModal();
}));

// Beginning

async function begin() {
  const [capabilities, { models }] = await Promise.all([api.capabilities(), api.models()]);
  form.offer(capabilities, models);
  viewer.offer(capabilities.upscalers);
  $("ideas").replaceChildren(...(form.models.current?.name === "sd-emoji" ? EMOJI : IDEAS).map(idea));
  const keeping = capabilities.keeps ? "finished pictures are kept in files" : "pictures are kept for a while only";
  $("server").textContent = `${count(models.length, "model")}; ${keeping}`;
  await Promise.all([gallery.reload(), jobs.resume()]);
  document.documentElement.dataset.ready = "";
}

async function beginAgain() {
  for (let tries = 0; ; tries += 1) {
    try {
      await begin();
      $("form-error").textContent = "";
      return;
    } catch (error) {
      $("form-error").textContent = plain(error);
      if (error.status === 401) return;
      await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 1000 * 2 ** tries)));
    }
  }
}

beginAgain();
