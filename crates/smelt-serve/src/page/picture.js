// Pictures that the user brings: from files, the clipboard or other pictures, as what the server takes.

/** Longest side that is sent; larger ones are made smaller here. */
const LONGEST = 2048;

/** Bytes as base64. */
export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file could not be read."));
    reader.readAsDataURL(blob);
  });
}

/** A picture as a request has it: `{ name, url, width, height, image }`, turned as the camera says. */
export async function load(blob, name = "picture") {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error(`${name} is no picture that this browser can read.`);
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  let file = blob;
  if (scale < 1 || blob.type !== "image/png") {
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
    file = await canvas.convertToBlob({ type: "image/png" });
  }
  bitmap.close();
  return { name, width, height, url: URL.createObjectURL(file), image: await base64(file) };
}

/** The first picture among dropped or pasted things. */
export function pictureIn(transfer) {
  return Array.from(transfer?.files ?? []).find((file) => file.type.startsWith("image/")) ?? null;
}
