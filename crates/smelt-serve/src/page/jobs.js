// Jobs of this browser: the one that is drawn with its preview and progress, and those that wait. They survive a reload.

import { api } from "./api.js";
import { $, announce, count, duration, el, plain } from "./dom.js";
import { keep, kept } from "./keep.js";

/** Time between two looks at the queue. */
const LOOK = 2000;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Jobs {
  /** Those that are not over, the oldest first. */
  #mine = [];
  #last = null;
  #follows = false;
  #looks = null;
  #n_others = 0;
  onpicture = () => {};
  onopen = () => {};
  ondrawing = () => {};

  constructor() {
    $("cancel").addEventListener("click", () => this.cancelCurrent());
  }

  get current() {
    return this.#mine[0] ?? null;
  }

  /** Goes on with what was begun before the page was loaded. */
  async resume() {
    for (const id of kept("jobs", [])) {
      if (this.#mine.some((job) => job.id === id)) continue;
      try {
        this.#mine.push(recordOf(await api.job(id)));
      } catch (error) {
        if (error.status !== 404) throw error;
      }
    }
    this.#mine.sort((a, b) => a.created - b.created);
    const last = kept("last", null);
    if (!this.#mine.length && last) {
      try {
        this.#last = recordOf(await api.job(last));
      } catch { /* It is forgotten by now. */ }
    }
    this.#keep();
    this.#show();
    this.#follow();
  }

  /** A job that the server took. */
  take(status) {
    this.#mine.push(recordOf(status));
    const n = this.#mine.length;
    announce(n > 1 ? `Queued; ${count(n - 1, "job")} of yours before it` : "It begins");
    this.#keep();
    this.#show();
    this.#follow();
  }

  /** A picture is gone, and shall not be seen any more. */
  forget(id) {
    for (const job of [...this.#mine, this.#last]) if (job) job.pictures = job.pictures.filter((picture) => picture.id !== id);
    this.#show();
  }

  async cancelCurrent() {
    if (this.current) await this.#cancel(this.current);
  }

  async #cancel(job) {
    job.stops = true;
    this.#show();
    try {
      await api.cancel(job.id);
      if (job !== this.current) this.#drop(job);
    } catch (error) {
      if (error.status === 404) this.#drop(job);
      else $("stage-error").textContent = plain(error);
    }
  }

  #drop(job) {
    this.#mine = this.#mine.filter((other) => other !== job);
    this.#keep();
    this.#show();
  }

  #keep() {
    keep("jobs", this.#mine.map((job) => job.id));
    if (this.#last) keep("last", this.#last.id);
  }

  /** Follows the oldest job until none is left. Browsers have few connections, so the others are only looked at now and then. */
  async #follow() {
    if (this.#follows) return;
    this.#follows = true;
    this.#looks ??= setInterval(() => this.#look(), LOOK);
    let tries = 0;
    while (this.current) {
      const job = this.current;
      try {
        for await (const event of api.events(job.id)) {
          tries = 0;
          this.#happened(job, event);
          if (job !== this.current) break;
        }
      } catch (error) {
        if (error.status === 404) {
          $("stage-error").textContent = "The server does not know this job any more; it was probably started anew.";
          this.#drop(job);
          continue;
        }
      }
      if (job === this.current) {
        tries += 1;
        job.lost = tries > 1;
        this.#show();
        await pause(Math.min(10_000, 500 * 2 ** tries));
      }
    }
    this.#follows = false;
    clearInterval(this.#looks);
    this.#looks = null;
    this.#n_others = 0;
  }

  async #look() {
    if (document.hidden) return;
    try {
      const { jobs } = await api.activeJobs();
      const byId = new Map(jobs.map((job) => [job.id, job]));
      for (const job of this.#mine) if (byId.has(job.id)) job.position = byId.get(job.id).position;
      this.#n_others = jobs.filter((job) => !this.#mine.some((own) => own.id === job.id)).length;
      this.#showQueue();
    } catch { /* The next look will do. */ }
  }

  #happened(job, event) {
    job.lost = false;
    switch (event.event) {
      case "queued":
        job.position = event.position;
        break;
      case "loading":
        Object.assign(job, { phase: "loading", position: null });
        break;
      case "drawing":
        Object.assign(job, { phase: "drawing", position: null });
        this.ondrawing();
        break;
      case "step": {
        const quarter = Math.floor(event.progress * 4);
        if (quarter > Math.floor(job.steps.progress * 4) && quarter < 4) announce(`${quarter * 25} % is drawn`);
        job.steps = event;
        break;
      }
      case "preview":
        job.preview = event;
        break;
      case "picture":
        if (!job.pictures.some((known) => known.id === event.id)) {
          job.pictures.push(event);
          this.onpicture(event);
        }
        break;
      case "warning":
        if (!job.warnings.includes(event.message)) job.warnings.push(event.message);
        break;
      case "done":
        job.seconds = event.seconds;
        return this.#over(job, "done");
      case "error":
        job.error = event;
        return this.#over(job, "failed");
      case "cancelled":
        return this.#over(job, "cancelled");
    }
    this.#show();
  }

  #over(job, phase) {
    job.phase = phase;
    this.#last = job;
    this.#drop(job);
    if (phase === "done") announce(`${count(job.pictures.length, "picture")} finished`);
    if (phase === "cancelled") announce("Cancelled");
  }

  // What is seen

  #show() {
    const job = this.current;
    this.#showPicture(job ?? this.#last);
    $("progress").hidden = !job;
    if (job) this.#showProgress(job);
    document.title = job && job.phase === "drawing" ? `${Math.round(job.steps.progress * 100)} % · Smelt` : "Smelt";
    this.#showNotes(job ?? this.#last);
    this.#showQueue();
  }

  #showPicture(job) {
    const preview = $("stage-preview");
    const foretold = job?.preview && !job.finished && this.current === job && job.preview.picture === job.steps.picture ? job.preview : null;
    preview.hidden = !foretold;
    if (foretold && preview.src !== foretold.image) {
      preview.src = foretold.image;
      preview.decode().then(() => {
        $("stage").style.setProperty("--room", `${Math.max(520, Math.min(1080, preview.naturalWidth * 8))}px`);
      }, () => { /* The next one comes. */ });
    }
    // Until there is something of the new job, what was drawn last stays.
    const shown = job?.pictures.length ? job : this.#last;
    const pictures = shown?.pictures ?? [];
    const results = $("stage-pictures");
    results.hidden = Boolean(foretold) || !pictures.length;
    $("stage-empty").hidden = Boolean(foretold) || Boolean(pictures.length) || Boolean(this.current);
    $("stage-waits").hidden = !this.current || Boolean(foretold) || Boolean(pictures.length);
    const wanted = pictures.map((picture) => picture.id).join();
    if (results.dataset.ids !== wanted) {
      results.dataset.ids = wanted;
      const columns = Math.ceil(Math.sqrt(pictures.length));
      const widest = Math.max(0, ...pictures.map((picture) => picture.width));
      results.style.setProperty("--columns", columns);
      results.style.setProperty("--room", `${Math.max(columns > 1 ? 760 : 540, Math.min(1100, widest * columns))}px`);
      results.replaceChildren(...pictures.map((picture) => {
        const alt = `${shown.prompt || "Picture"}, seed ${picture.seed}. Open it`;
        const { url: src, width, height } = picture;
        const button = el("button", { type: "button" }, el("img", { src, alt, width, height }));
        button.addEventListener("click", () => this.onopen(picture.id, button));
        button.firstChild.addEventListener("error", () => this.forget(picture.id));
        return button;
      }));
    }
  }

  #showProgress(job) {
    const { steps } = job;
    const bar = $("progress-bar");
    const which = job.prompt === null ? "Making a picture larger" : steps.n_pictures > 1 ? `Picture ${steps.picture + 1} of ${steps.n_pictures}` : "Drawing";
    let label = { loading: `Loading ${job.model}`, drawing: which }[job.phase] ?? waits(job);
    if (job.stops) label = "Cancelling";
    if (job.lost) label = "The connection is lost; trying again";
    $("progress-label").textContent = label;
    if (job.phase === "drawing" && steps.n_steps) {
      bar.value = steps.progress;
      const figures = [`Step ${steps.step} of ${steps.n_steps}`];
      if (steps.steps_per_s) figures.push(`${steps.steps_per_s.toFixed(steps.steps_per_s < 10 ? 1 : 0)} it/s`);
      if (steps.eta_s > 0.05) figures.push(`${duration(steps.eta_s)} left`);
      $("progress-text").textContent = figures.join(" · ");
    } else {
      bar.removeAttribute("value");
      $("progress-text").textContent = "";
    }
    $("cancel").disabled = Boolean(job.stops);
  }

  #showNotes(job) {
    const note = $("stage-note");
    const lines = [];
    const flagged = job?.pictures.filter((picture) => picture.flagged).length ?? 0;
    if (flagged) lines.push(`The safety checker objected to ${flagged === 1 ? "a picture, which is" : `${flagged} pictures, which are`} black therefore. Another seed or other words may help.`);
    if (job?.phase === "done" && job.seconds !== undefined) lines.push(`${job.prompt === null ? "Made larger" : "Drawn"} in ${duration(job.seconds)}.`);
    if (job?.phase === "cancelled") lines.push(job.pictures.length ? "Cancelled; what was finished is kept." : "Cancelled.");
    lines.push(...(job?.warnings ?? []).map((message) => plain({ message })));
    note.hidden = !lines.length;
    note.classList.toggle("flagged", flagged > 0);
    note.textContent = lines.join(" ");
    if (job) $("stage-error").textContent = job.error ? plain(job.error) : "";
  }

  #showQueue() {
    const rest = this.#mine.slice(1);
    $("queue").hidden = !rest.length && !(this.current && this.#n_others);
    $("queue-title").hidden = !rest.length;
    const list = $("queue-list");
    const wanted = rest.map((job) => `${job.id} ${job.position} ${job.stops}`).join();
    if (list.dataset.shown !== wanted) {
      list.dataset.shown = wanted;
      const focused = list.contains(document.activeElement);
      list.replaceChildren(...rest.map((job) => {
        const what = whatIs(job);
        const cancel = el("button", { type: "button", textContent: "Cancel", disabled: Boolean(job.stops) });
        cancel.setAttribute("aria-label", `Cancel ${what}`);
        cancel.addEventListener("click", () => this.#cancel(job));
        return el("li", {}, el("span", { className: "what", textContent: what }), el("span", { className: "figures", textContent: waits(job) }), cancel);
      }));
      if (focused) (list.querySelector("button") ?? $("cancel")).focus();
    }
    const n = this.#n_others;
    $("queue-others").textContent = n ? `${count(n, "job")} of others ${n === 1 ? "is" : "are"} in the queue as well; turns are taken fairly.` : "";
  }
}

function whatIs(job) {
  return job.prompt ?? "A picture made larger";
}

function waits(job) {
  if (job.position === null || job.position === undefined) return "Begins soon";
  return job.position === 0 ? "Next in the queue" : `${count(job.position, "job")} before it`;
}

/** A job's status as it is kept here. */
function recordOf(status) {
  const { started, finished } = status;
  const seconds = started && finished ? finished - started : undefined;
  return { ...status, finished: null, preview: null, stops: false, lost: false, seconds };
}
