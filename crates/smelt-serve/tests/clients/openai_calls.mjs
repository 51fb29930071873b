// openai, OpenAI's own SDK for JavaScript.

import OpenAI, { toFile } from "openai";
import { Calls, check } from "./shared/told.mjs";

const api = new OpenAI({ baseURL: `${process.argv[2].replace(/\/$/, "")}/v1`, apiKey: "anything", maxRetries: 0 });
const calls = new Calls("openai (npm) 7.59.0");
const bytes = (one) => Buffer.from(one.b64_json, "base64");
const isPng = (one) => bytes(one).subarray(1, 4).toString() === "PNG";
let drawn;

await calls.call("images.generate", async () => {
  const answer = await api.images.generate({ model: "gpt-image-1", prompt: "red heart", seed: 5, steps: 4 });
  drawn = bytes(answer.data[0]);
  check(isPng(answer.data[0]) && answer.data[0].seed === 5, answer);
});
await calls.call("images.generate, stream", async () => {
  const kinds = [];
  const stream = await api.images.generate({ prompt: "red heart", stream: true, partial_images: 2, steps: 4 });
  for await (const event of stream) {
    check(isPng(event), event.type);
    kinds.push(event.type);
  }
  check(kinds.length > 1 && kinds.at(-1) === "image_generation.completed", kinds);
  return `${kinds.length - 1} partial pictures`;
});
await calls.call("images.edit", async () => {
  const image = await toFile(drawn, "picture.png", { type: "image/png" });
  const answer = await api.images.edit({ image, prompt: "blue heart", strength: 0.5, steps: 4 });
  check(isPng(answer.data[0]), answer);
});
await calls.call("images.createVariation", async () => {
  const image = await toFile(drawn, "picture.png", { type: "image/png" });
  const answer = await api.images.createVariation({ image, steps: 4 });
  check(answer.data.length === 1, answer);
});
await calls.call("models.list, models.retrieve", async () => {
  const { data } = await api.models.list();
  check((await api.models.retrieve(data[0].id)).id === data[0].id, data);
  return data.map((model) => model.id).join(", ");
});
await calls.refused("images.generate, size", "7x7", () => api.images.generate({ prompt: "x", size: "7x7" }));
