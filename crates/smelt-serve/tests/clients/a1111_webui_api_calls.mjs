// a1111-webui-api, a client of AUTOMATIC1111's interface.

import imported from "a1111-webui-api";
import sharp from "sharp";
import { Calls, check } from "./shared/told.mjs";

// Its module is CommonJS.
const StableDiffusionApi = imported.default ?? imported;
const api = new StableDiffusionApi({ baseUrl: process.argv[2], defaultSampler: "Euler a", defaultStepCount: 4 });
const calls = new Calls("a1111-webui-api 1.9.30001");
const size = { width: 128, height: 128 };
const photo = sharp({ create: { ...size, channels: 3, background: { r: 200, g: 40, b: 10 } } }).png();

await calls.call("txt2img", async () => {
  const result = await api.txt2img({ prompt: "red heart", seed: 5, ...size });
  const about = await result.image.metadata();
  // The client hands `info` on as the text that it is.
  const info = JSON.parse(result.info);
  check(about.width === 128 && info.all_seeds[0] === 5, info);
});
await calls.call("img2img", async () => {
  const result = await api.img2img({ init_images: [photo], prompt: "red heart", denoising_strength: 0.5, ...size });
  check((await result.image.metadata()).width === 128, result.info);
});
await calls.call("extraSingle", async () => {
  const result = await api.extraSingle({ image: photo, upscaler_1: "Lanczos", upscaling_resize: 2 });
  check((await result.image.metadata()).width === 256, "another size");
});
await calls.call("pngInfo", async () => {
  await api.pngInfo(photo);
});
await calls.call("getProgress", async () => {
  check((await api.getProgress()).progress === 0, "not at rest");
});
await calls.call("getOptions, setOptions", async () => {
  const options = await api.getOptions();
  await api.setOptions({ sd_model_checkpoint: options.sd_model_checkpoint });
  return options.sd_model_checkpoint;
});
for (const name of [
  "getCmdFlags", "getSamplers", "getUpscalers", "getSdModels", "getHypernetworks", "getFaceRestorers",
  "getRealesrganModels", "getPromptStyles", "refreshCheckpoints",
]) {
  await calls.call(name, async () => void (await api[name]()));
}
await calls.call("ControlNet.getModels, getModules", async () => {
  await api.ControlNet.getModels();
  check((await api.ControlNet.getModules()).includes("canny"), "no canny");
});
await calls.refused("txt2img, unknown sampler", "Sampler not found", () =>
  api.txt2img({ prompt: "x", sampler_name: "Magic", ...size }),
);
await calls.refused("interrogate", "no model here describes pictures", () => api.interrogate(photo, "clip"));
