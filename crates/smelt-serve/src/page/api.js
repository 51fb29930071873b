// The server's interface below /smelt/v1: requests, errors in plain words, and streams of events.

import { CLIENT, keptKey } from "./keep.js";

/** A request that failed: the server's own words, and the field at fault where it names one. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = "", field = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, code, field, retryAfter });
  }
}

let key = keptKey();
let askKey = async () => null;
let asking = null;

/** How the key is asked for: a function that resolves to the key, or null where nobody gives one. */
export function onKeyWanted(ask) {
  askKey = ask;
}

/** Uses a key, also for pictures, which the browser fetches by itself and so only with a cookie. */
export function useKey(value, remember) {
  key = value;
  const bytes = new TextEncoder().encode(value);
  const encoded = btoa(String.fromCharCode(...bytes));
  const age = remember ? "; max-age=31536000" : "";
  document.cookie = `smelt-key=${encoded}; SameSite=Strict; path=/${age}`;
}

if (key) useKey(key, false);

function headersOf(json) {
  const headers = { "Smelt-Client": CLIENT };
  if (json) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  return headers;
}

/** Asks once, however many requests were refused at the same time. */
async function newKey(wrong) {
  asking ??= askKey(wrong).finally(() => { asking = null; });
  return asking;
}

async function send(method, path, body, signal, keepalive = false) {
  for (;;) {
    const used = key;
    let response;
    try {
      response = await fetch(path, {
        method, signal, keepalive,
        headers: headersOf(body !== undefined),
        body: body === undefined ? undefined : written(body),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer. Is it still running?", { code: "offline" });
    }
    if (response.status !== 401) return response;
    // Another request may have brought the key meanwhile.
    if (key === used && !(await newKey(Boolean(used)))) {
      throw new ApiError("This server asks for a key.", { status: 401, code: "unauthorized" });
    }
  }
}

async function checked(response) {
  if (response.ok) return response;
  let about = {};
  try {
    about = (await response.json()).error ?? {};
  } catch { /* Not the server's own shape, such as a proxy's. */ }
  const usual = `The server answered with ${response.status} ${response.statusText}`.trim();
  throw new ApiError(about.message ?? usual, {
    status: response.status,
    code: about.code,
    field: about.field ?? null,
    retryAfter: Number(response.headers.get("Retry-After")) || null,
  });
}

async function json(method, path, body, signal) {
  const response = await checked(await send(method, path, body, signal));
  return response.status === 204 ? null : read(await response.text());
}

/** JSON of the server; seeds that are too large for a number of JavaScript's stay text. */
function read(text) {
  const exact = (name, value, context) =>
    name === "seed" && typeof value === "number" && !Number.isSafeInteger(value) ? context?.source ?? value : value;
  return JSON.parse(text, exact);
}

/** JSON for the server: seeds are numbers of any size there. A quotation mark within a text has `\` before it. */
function written(body) {
  return JSON.stringify(body).replace(/"seed":"(\d+)"/g, '"seed":$1');
}

const BASE = "/smelt/v1";
const id = encodeURIComponent;

export const api = {
  capabilities: () => json("GET", `${BASE}/capabilities`),
  models: () => json("GET", `${BASE}/models`),
  refreshModels: () => json("POST", `${BASE}/models/refresh`),
  loadModel: (name) => json("POST", `${BASE}/models/${id(name)}/load`),
  unloadModel: (name) => json("POST", `${BASE}/models/${id(name)}/unload`),
  download: (source) => json("POST", `${BASE}/models/download`, { source }),
  submit: (request) => json("POST", `${BASE}/jobs`, request),
  upscale: (image, upscaler) => json("POST", `${BASE}/upscale`, { image, upscaler }),
  job: (job) => json("GET", `${BASE}/jobs/${id(job)}`),
  activeJobs: () => json("GET", `${BASE}/jobs?phase=active`),
  cancel: (job) => json("DELETE", `${BASE}/jobs/${id(job)}`),
  pictures: (search, skip, limit) => json("GET", `${BASE}/pictures?${new URLSearchParams({ search, skip, limit })}`),
  about: (picture) => json("GET", `${BASE}/pictures/${id(picture)}/about`),
  settings: (image) => json("POST", `${BASE}/settings`, { image }),
  tokens: (request, signal) => json("POST", `${BASE}/tokens`, request, signal),
  remove: async (picture, keepalive) => {
    await checked(await send("DELETE", `${BASE}/pictures/${id(picture)}`, undefined, undefined, keepalive));
  },
  file: async (url) => (await checked(await send("GET", url))).blob(),
  events,
};

/** The events of a job as `{ event, … }`, until the last one or until `signal` ends it. */
async function* events(job, signal) {
  const response = await checked(await send("GET", `${BASE}/jobs/${id(job)}/events`, undefined, signal));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) {
        const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
        if (data.length) yield read(data.join("\n"));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
