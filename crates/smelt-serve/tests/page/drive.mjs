// Drives the page of `smelt serve` in Chromium, as a person would, and looks at what they see.
//
//   node drive.mjs http://127.0.0.1:7860 screenshots
//
// One line of JSON for each check, `{"check": "…", "ok": true}`; the exit status is 1 where one fails. `CHROMIUM` names
// the browser's program. The model is the one in the box, or any other that draws in some seconds.

import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { crc32 } from "./png.mjs";
import puppeteer from "puppeteer-core";

const [server = "http://127.0.0.1:7860", folder = "screenshots"] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(folder, { recursive: true });

/** Time that a picture may take. */
const LONG = 180_000;
const WIDE = { width: 1360, height: 900 };

let n_failed = 0;
const problems = [];

async function check(name, run) {
  const began = Date.now();
  let about;
  try {
    about = await run();
  } catch (error) {
    n_failed += 1;
    console.log(JSON.stringify({ check: name, ok: false, error: String(error.message ?? error).slice(0, 2000) }));
    await page.screenshot({ path: join(folder, `failed-${n_failed}.png`) }).catch(() => {});
    return;
  }
  console.log(JSON.stringify({ check: name, ok: true, seconds: (Date.now() - began) / 1000, ...about }));
}

function expect(holds, what) {
  if (!holds) throw new Error(what);
}

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"],
});
let page = await opened();

async function opened() {
  const fresh = await browser.newPage();
  await fresh.setViewport(WIDE);
  await fresh.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }, { name: "prefers-reduced-motion", value: "reduce" }]);
  fresh.on("pageerror", (error) => problems.push(String(error)));
  fresh.on("console", (message) => {
    // What is refused or broken on purpose here is written to the console by the browser itself.
    if (message.type() === "error" && !/status of 4\d\d|ERR_CONNECTION_RESET/.test(message.text())) problems.push(message.text());
  });
  return fresh;
}

// What a person does

const text = (selector) => page.$eval(selector, (node) => node.textContent.trim());
const seen = (selector) => page.$eval(selector, (node) => node.checkVisibility());
const until = (run, argument, timeout = 20_000) => page.waitForFunction(run, { timeout, polling: 50 }, argument);
const value = (selector) => page.$eval(selector, (node) => node.value);

async function visit() {
  await page.goto(server, { waitUntil: "load" });
  await until(() => document.documentElement.dataset.ready === "");
}

async function type(selector, what) {
  await page.$eval(selector, (node) => { node.value = ""; node.dispatchEvent(new Event("input", { bubbles: true })); });
  await page.type(selector, String(what));
}

async function fill(fields) {
  for (const [id, what] of Object.entries(fields)) await type(`#${id}`, what);
}

async function press(selector) {
  await page.$eval(selector, (node) => node.scrollIntoView({ block: "center" }));
  await page.click(selector);
}

const n_thumbs = () => page.$$eval("#gallery > li", (all) => all.length);

async function drawn(before) {
  await until((n) => document.querySelectorAll("#gallery > li").length > n && document.getElementById("progress").hidden, before, LONG);
}

const running = () => until(() => /^Step [2-9]/.test(document.getElementById("progress-text").textContent), undefined, LONG);

async function idle() {
  await until(() => document.getElementById("progress").hidden, undefined, LONG);
}

async function drop(bytes, name, where) {
  await page.evaluate((encoded, name, where) => {
    const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
    const send = (kind, node) => node.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    send("dragenter", document.body);
    const target = document.querySelector(`[data-drop="${where}"]`);
    if (!target.checkVisibility()) throw new Error("nowhere to drop it");
    send("dragover", target);
    send("drop", target);
  }, Buffer.from(bytes).toString("base64"), name, where);
}

const newest = () => page.evaluate(async () => {
  const about = (await (await fetch("/smelt/v1/pictures?limit=1")).json()).pictures[0];
  const bytes = new Uint8Array(await (await fetch(about.url)).arrayBuffer());
  return { about, bytes: Array.from(bytes) };
});

async function accessible(where) {
  for (const colours of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: colours }, { name: "prefers-reduced-motion", value: "reduce" }]);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 5).join(", ")} ${one.nodes[0].failureSummary?.split("\n")[1] ?? ""}`);
    expect(!found.length, `${where}, ${colours}: ${found.join("; ")}`);
  }
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }, { name: "prefers-reduced-motion", value: "reduce" }]);
}

async function picture(name) {
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

async function fits() {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  expect(wide <= page.viewport().width, `the page is ${wide} pixels wide`);
}

// The checks

await check("the page loads", async () => {
  await visit();
  expect(await seen("#stage-empty"), "the start is not seen");
  expect((await value("#model")) !== "", "no model is chosen");
});

await check("axe finds nothing at the start", () => accessible("at the start"));

await check("tokens are counted", async () => {
  await type("#prompt", "red heart");
  await until(() => /^\d+ of \d+ tokens$/.test(document.getElementById("prompt-tokens").textContent));
  return { tokens: await text("#prompt-tokens") };
});

await check("what is wrong is said where it is wrong", async () => {
  await fill({ width: 77 });
  await press("#draw");
  await until(() => document.getElementById("size-error").textContent !== "");
  const message = await text("#size-error");
  expect((await page.$eval("#width", (node) => node.getAttribute("aria-invalid"))) === "true", "the field is not marked");
  await type("#width", "");
  expect((await text("#size-error")) === "", "the message stays");
  await page.evaluate(() => document.getElementById("sampler").append(new Option("Foo", "foo")));
  await page.select("#sampler", "foo");
  await press("#draw");
  await until(() => document.getElementById("scheduler-error").textContent !== "");
  await page.select("#sampler", "");
  await fill({ seed: "abc" });
  await press("#draw");
  await until(() => document.getElementById("seed-error").textContent !== "");
  await type("#seed", "");
  return { message };
});

await check("a first picture, with previews and progress", async () => {
  const before = await n_thumbs();
  await page.$eval("details.group", (node) => { node.open = true; });
  await fill({ steps: 12, seed: 7, preview: 2 });
  await page.focus("#prompt");
  await page.keyboard.down("Control");
  await page.keyboard.press("Enter");
  await page.keyboard.up("Control");
  await until(() => document.getElementById("stage-preview").checkVisibility() && document.getElementById("stage-preview").naturalWidth > 0, undefined, LONG);
  await until(() => /Step \d+ of \d+ · [\d.]+ it\/s/.test(document.getElementById("progress-text").textContent), undefined, LONG);
  await drawn(before);
  const { about } = await newest();
  expect(about.seed === 7 && about.prompt === "red heart", `seed ${about.seed}, prompt ${about.prompt}`);
  await until(() => document.querySelector("#stage-pictures img")?.naturalWidth > 0);
  return { note: await text("#stage-note") };
});

await check("axe finds nothing while a job runs, which is cancelled then", async () => {
  const before = await n_thumbs();
  await fill({ prompt: "rocket", steps: 150, seed: "" });
  await press("#draw");
  await running();
  await accessible("with a job");
  await page.$eval("#stage", (node) => node.scrollIntoView());
  await press("#cancel");
  await until(() => document.getElementById("stage-note").textContent.includes("Cancelled"), undefined, LONG);
  expect((await n_thumbs()) === before, "there is a picture of it");
});

await check("several jobs wait in the queue, and one of them is cancelled", async () => {
  await fill({ prompt: "cat face", steps: 40 });
  await press("#draw");
  await until(() => !document.getElementById("progress").hidden);
  await fill({ prompt: "pizza", steps: 8 });
  await press("#draw");
  await until(() => document.querySelectorAll("#queue-list li").length === 1);
  await fill({ prompt: "grinning face" });
  await press("#draw");
  await until(() => document.querySelectorAll("#queue-list li").length === 2);
  await until(() => /before it|Next/.test(document.querySelector("#queue-list .figures").textContent));
  const places = await page.$$eval("#queue-list li", (all) => all.map((one) => one.textContent));
  await press("#queue-list li:last-child button");
  await until(() => document.querySelectorAll("#queue-list li").length === 1);
  return { places };
});

await check("a reload in the middle of a job goes on with it", async () => {
  await running();
  await page.reload({ waitUntil: "load" });
  await until(() => document.documentElement.dataset.ready === "");
  await until(() => document.getElementById("progress").checkVisibility() && /^Step/.test(document.getElementById("progress-text").textContent), undefined, LONG);
  expect((await value("#prompt")) === "grinning face", `the prompt is ${await value("#prompt")}`);
  expect((await page.$$("#queue-list li")).length === 1, "the queue is lost");
  await page.keyboard.press("Escape");
  await until(() => document.querySelectorAll("#queue-list li").length === 0, undefined, LONG);
  await idle();
  const { about } = await newest();
  expect(about.prompt === "pizza", `the last picture is ${about.prompt}`);
});

await check("a connection that is lost is found again", async () => {
  const before = await n_thumbs();
  let tries = 0;
  const meddle = (request) => {
    if (!request.url().endsWith("/events")) return request.continue();
    tries += 1;
    if (tries === 1) return request.respond({ status: 200, contentType: "text/event-stream", body: 'event: drawing\ndata: {"event":"drawing"}\n\n' });
    return tries < 4 ? request.abort("connectionreset") : request.continue();
  };
  await page.setRequestInterception(true);
  page.on("request", meddle);
  await fill({ prompt: "rocket", steps: 8 });
  await press("#draw");
  await until(() => /lost/.test(document.getElementById("progress-label").textContent));
  await drawn(before);
  page.off("request", meddle);
  await page.setRequestInterception(false);
  return { tries };
});

await check("a picture to start from is dropped, and a mask is painted", async () => {
  const { bytes } = await newest();
  const before = await n_thumbs();
  // By the clipboard first.
  await page.evaluate((bytes) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([Uint8Array.from(bytes)], "pasted.png", { type: "image/png" }));
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, bytes);
  await until(() => document.getElementById("start-picture").naturalWidth > 0);
  await press("#start-remove");
  await drop(bytes, "start.png", "start");
  await until(() => document.getElementById("start-picture").naturalWidth > 0);
  await press("#mask-toggle");
  const canvas = await page.$("#mask-canvas");
  await canvas.scrollIntoView();
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.3);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.35, { steps: 8 });
  await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.6, { steps: 8 });
  await page.mouse.up();
  await accessible("with a mask");
  await fill({ prompt: "red heart", strength: 0.8, "mask-blur": 2, steps: 8 });
  await canvas.scrollIntoView();
  await picture("mask");
  const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/smelt/v1/jobs"));
  await press("#draw");
  const request = JSON.parse((await sent).postData());
  expect(request.image.mask && request.image.image && request.image.strength === 0.8 && request.image.mask_blur === 2, "the request lacks something");
  await drawn(before);
  const { about } = await newest();
  expect(/mask/.test(JSON.stringify(about.settings)), "the settings do not tell of a mask");
  await fill({ strength: "", "mask-blur": "" });
  await press("#gallery > li:first-child button");
  await press("#use-settings");
  await until(() => !document.getElementById("settings-note").hidden);
  expect((await value("#strength")) === "0.8" && (await value("#mask-blur")) === "2", "the strength is not taken over");
});

await check("a mask is painted by keys", async () => {
  const painted = () => page.$eval("#mask-canvas", (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((level, at) => at % 4 === 3 && level > 127).length;
  });
  await press("#mask-clear");
  expect((await painted()) === 0, "it is not cleared");
  await page.focus("#mask-canvas");
  await page.keyboard.press("Space");
  const dab = await painted();
  await page.keyboard.down("Shift");
  for (let n = 0; n < 5; n += 1) await page.keyboard.press("ArrowRight");
  await page.keyboard.up("Shift");
  const line = await painted();
  await press("#mask-invert");
  const inverted = await painted();
  await press("#mask-undo");
  expect(dab > 0 && line > dab && inverted !== line && (await painted()) === line, `${dab}, ${line}, ${inverted}`);
  await press("#start-remove");
});

await check("settings come back from a dropped picture that was drawn here", async () => {
  const { bytes, about } = await newest();
  await fill({ prompt: "something else", steps: 3 });
  await drop(bytes, "drawn.png", "settings");
  await until(() => /drawn\.png/.test(document.getElementById("settings-note").textContent));
  expect((await value("#prompt")) === about.prompt, "another prompt");
  expect((await value("#seed")) === String(about.seed), "another seed");
  expect((await value("#steps")) === String(about.settings.steps), "other steps");
  return { note: await text("#settings-note") };
});

await check("settings come back from a picture of another tool", async () => {
  const { bytes } = await newest();
  const parameters = "a watercolour of a fox\nNegative prompt: blurry\nSteps: 21, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, " +
    "Seed: 18446744073709551615, Size: 128x136, Model: fox, Wildcard: yes, Version: v1.10.1";
  await drop(withText(Buffer.from(bytes), "parameters", parameters), "fox.png", "settings");
  await until(() => /fox\.png/.test(document.getElementById("settings-note").textContent));
  const got = {};
  for (const id of ["prompt", "negative", "steps", "guidance", "sampler", "spread", "seed", "width", "height"]) got[id] = await value(`#${id}`);
  const wanted = { prompt: "a watercolour of a fox", negative: "blurry", steps: "21", guidance: "6.5", sampler: "dpmpp-2m", spread: "karras", seed: "18446744073709551615", width: "128", height: "136" };
  expect(JSON.stringify(got) === JSON.stringify(wanted), JSON.stringify(got));
  const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/smelt/v1/jobs"));
  await press("#draw");
  expect((await sent).postData().includes('"seed":18446744073709551615'), "the seed is not sent as it is");
  await picture("settings");
  // It may be drawn already.
  await press("#cancel").catch(() => {});
  await page.waitForNetworkIdle({ idleTime: 300, timeout: 3000 }).catch(() => {});
  await idle();
  return { note: await text("#settings-note") };
});

/** The same PNG with a text in it. */
function withText(png, name, said) {
  const data = Buffer.concat([Buffer.from("tEXt"), Buffer.from(`${name}\0${said}`, "latin1")]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length - 4);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(data));
  // Other texts are left out; the head is 8 + 25 bytes.
  const kept = [];
  for (let at = 33; at < png.length;) {
    const end = at + 12 + png.readUInt32BE(at);
    if (!["tEXt", "iTXt", "zTXt", "eXIf"].includes(png.toString("latin1", at + 4, at + 8))) kept.push(png.subarray(at, end));
    at = end;
  }
  return Buffer.concat([png.subarray(0, 33), length, data, sum, ...kept]);
}

await check("several pictures, each with a seed that draws it again", async () => {
  await press("#reset");
  const before = await n_thumbs();
  await fill({ prompt: "cat face", steps: 6, count: 2, seed: 100 });
  await press("#draw");
  await drawn(before + 1);
  const seeds = await page.evaluate(async () => (await (await fetch("/smelt/v1/pictures?limit=2")).json()).pictures.map((one) => one.seed));
  expect(new Set(seeds).size === 2, `seeds ${seeds}`);
  await until(() => document.querySelectorAll("#stage-pictures img").length === 2);
  return { seeds };
});

await check("the viewer: axe, arrow keys, compare by keys, Escape", async () => {
  await press("#gallery > li:first-child button");
  await until(() => document.getElementById("viewer").open);
  await accessible("in the viewer");
  const first = await text("#viewer-place");
  await page.keyboard.press("ArrowRight");
  expect((await text("#viewer-place")) !== first, "the arrow key did nothing");
  await press("#compare-toggle");
  await until(() => document.getElementById("viewer-other").checkVisibility());
  await page.focus("#compare-at");
  await page.keyboard.press("ArrowLeft");
  expect((await value("#compare-at")) === "49", "the slider did not move");
  await accessible("comparing");
  await picture("viewer");
  await page.keyboard.press("Escape");
  expect(!(await page.$eval("#viewer", (node) => node.open)), "it stays open");
  expect(await page.evaluate(() => document.activeElement === document.querySelector("#gallery > li:first-child button")), "the focus is lost");
});

await check("a picture's settings and its seed are used again", async () => {
  const { about } = await newest();
  await type("#seed", "");
  await press("#gallery > li:first-child button");
  await press("#use-seed");
  expect((await value("#seed")) === String(about.seed), "another seed");
  await type("#prompt", "nothing");
  await press("#gallery > li:first-child button");
  await press("#use-settings");
  await until((prompt) => document.getElementById("prompt").value === prompt, about.prompt);
  await press("#gallery > li:first-child button");
  await press("#use-start");
  await until(() => document.getElementById("start-picture").naturalWidth > 0);
  await press("#start-remove");
});

await check("a picture is made larger", async () => {
  const before = await n_thumbs();
  await press("#gallery > li:first-child button");
  await until(() => document.getElementById("viewer").open);
  const width = await page.$eval("#viewer-image", (image) => image.decode().then(() => image.naturalWidth));
  await page.select("#upscaler", "lanczos");
  await press("#upscale");
  await drawn(before);
  const { about } = await newest();
  expect(about.width === 2 * width, `${about.width} pixels wide`);
  await press("#gallery > li:first-child button");
  await accessible("a picture that is larger");
  await page.keyboard.press("Escape");
});

await check("pictures are searched, deleted, and brought back", async () => {
  const all = await n_thumbs();
  await type("#search", "pizza");
  await until((all) => document.querySelectorAll("#gallery > li").length < all, all);
  await type("#search", "");
  await until((all) => document.querySelectorAll("#gallery > li").length === all, all);
  await press("#gallery > li:first-child button");
  await press("#delete");
  expect((await n_thumbs()) === all - 1, "it is still there");
  await press("#toast-button");
  expect((await n_thumbs()) === all, "it is not back");
  const gone = page.waitForResponse((response) => response.request().method() === "DELETE" && response.status() === 204, { timeout: 15_000 });
  await press("#delete");
  await page.keyboard.press("Escape");
  await gone;
  expect((await n_thumbs()) === all - 1, "it is still there");
});

await check("320 pixels are wide enough, also for axe", async () => {
  await page.setViewport({ width: 320, height: 640, isMobile: true, hasTouch: true, deviceScaleFactor: 2 });
  await visit();
  await fits();
  await accessible("narrow");
  await picture("narrow");
  await press("#gallery > li:first-child button");
  await until(() => document.getElementById("viewer").open);
  await accessible("narrow viewer");
  await fits();
  await picture("narrow-viewer");
  await page.keyboard.press("Escape");
  await page.setViewport(WIDE);
});

await check("colours are chosen and stay", async () => {
  await page.select("#theme", "dark");
  await page.reload();
  await until(() => document.documentElement.dataset.ready === "");
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  expect(ground === "rgb(21, 20, 19)", ground);
  await picture("dark");
  await page.select("#theme", "auto");
  await picture("light");
});

await check("a server that asks for a key is given one", async () => {
  const before = page;
  page = await opened();
  await page.setRequestInterception(true);
  const cookies = [];
  page.on("request", (request) => {
    const isPage = !new URL(request.url()).pathname.startsWith("/smelt/");
    if (isPage || request.headers().authorization === "Bearer key") return request.continue();
    cookies.push(request.resourceType());
    if (request.resourceType() === "image") return request.continue();
    return request.respond({ status: 401, contentType: "application/json", body: '{"error":{"code":"unauthorized","message":"this server asks for a key","field":null}}' });
  });
  await page.goto(server, { waitUntil: "load" });
  await until(() => document.getElementById("key-dialog").open);
  await accessible("asking for the key");
  await page.type("#key", "wrong");
  await page.keyboard.press("Enter");
  await until(() => /not the one/.test(document.getElementById("key-text").textContent) && document.getElementById("key-dialog").open);
  await page.type("#key", "key");
  await page.keyboard.press("Enter");
  await until(() => document.documentElement.dataset.ready === "");
  const cookie = await page.evaluate(() => document.cookie);
  expect(cookie.includes("smelt-key=a2V5"), cookie);
  await page.close();
  page = before;
});

await check("LoRAs, guides, downloads and the safety checker, as another server would answer", async () => {
  const before = page;
  page = await opened();
  await page.setRequestInterception(true);
  const sent = [];
  const status = (id, about) => ({ id, phase: "queued", position: 0, model: "m", prompt: "x", created: 0, started: null, finished: null, pictures: [], warnings: [], error: null,
    steps: { picture: 0, n_pictures: 0, step: 0, n_steps: 0, progress: 0, steps_per_s: null, eta_s: null }, ...about });
  let looks = 0;
  page.on("request", async (request) => {
    const path = new URL(request.url()).pathname.replace("/smelt/v1/", "");
    const json = (body, code = 200) => request.respond({ status: code, contentType: "application/json", body: JSON.stringify(body) });
    if (path === "capabilities") {
      const real = await (await fetch(request.url())).json();
      return json({ ...real, loras: ["ink", "clay"], controlnets: ["edges"], downloads: true });
    }
    if (path === "models/download") return json(status("d", { model: JSON.parse(request.postData()).source }), 202);
    if (path === "jobs/d") {
      looks += 1;
      const steps = { ...status("d").steps, step: 1e9, n_steps: 4e9, progress: 0.25 };
      return json(status("d", { phase: looks > 2 ? "done" : "drawing", steps, model: "hf:apple/example", finished: looks > 2 ? 1 : null }));
    }
    if (path === "jobs" && request.method() === "POST") {
      sent.push(JSON.parse(request.postData()));
      return json(status("f"), 202);
    }
    if (path === "jobs/f/events") {
      const picture = { event: "picture", id: "p", url: "/page/icon.svg", idx: 0, seed: 1, width: 128, height: 128, flagged: true };
      const body = [picture, { event: "warning", message: "a warning" }, { event: "done", seconds: 1.5 }].map((event) => `event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`).join("");
      return request.respond({ status: 200, contentType: "text/event-stream", body });
    }
    return request.continue();
  });
  await page.goto(server, { waitUntil: "load" });
  await until(() => document.documentElement.dataset.ready === "");
  await press("#lora-add");
  await press("#lora-add");
  await page.select("#lora-rows > :last-child .name", "clay");
  await type("#lora-rows > :last-child .strength", "0.5");
  const { bytes } = await newest();
  await drop(bytes, "guide.png", "control");
  await until(() => document.querySelector("#control-rows img").naturalWidth > 0);
  await page.select("#control-rows .preprocess", "canny:100,200");
  await accessible("with LoRAs and a guide");
  await picture("guides");
  await page.$eval("details.group", (node) => { node.open = true; });
  await press("#safety");
  await type("#prompt", "x");
  await press("#draw");
  await until(() => !document.getElementById("stage-note").hidden);
  const [request] = sent;
  expect(JSON.stringify(request.loras) === '[{"name":"ink","strength":1},{"name":"clay","strength":0.5}]', JSON.stringify(request.loras));
  expect(request.controls?.[0].controlnet === "edges" && request.controls[0].preprocess === "canny:100,200" && request.no_safety_check === true, "a guide or the switch is not sent");
  const note = await text("#stage-note");
  expect(/safety checker/.test(note) && /A warning/.test(note), note);
  await press("#model-download");
  await accessible("asking for a model");
  await page.type("#source", "apple/example");
  await page.keyboard.press("Enter");
  await until(() => /of 4.0 GB/.test(document.getElementById("download-text").textContent));
  await until(() => document.getElementById("download").hidden);
  await press("#reset");
  await page.close();
  page = before;
  return { note };
});

await check("the browser has nothing to complain about", async () => {
  expect(!problems.length, problems.join("; "));
});

await browser.close();
process.exit(n_failed ? 1 : 0);
