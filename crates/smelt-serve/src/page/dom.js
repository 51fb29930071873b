// Elements of the page, and what is said to the user outside of them: announcements and the small bar at the bottom.

export const $ = (id) => document.getElementById(id);

/** A new element: properties first, children after them. */
export function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

export const CROSS = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 5l14 14M19 5L5 19"/></svg>';

let lastSaid = 0;
let waiting = null;

/** Tells users of screen readers, not more often than every two seconds; what is newest wins. */
export function announce(text) {
  clearTimeout(waiting);
  const say = () => {
    lastSaid = Date.now();
    $("live").textContent = text;
  };
  waiting = setTimeout(say, Math.max(50, lastSaid + 2000 - Date.now()));
}

let toastTimer = null;
let toastEnd = null;

/** Shows a bar with an action for some seconds; `end` runs when it goes by without the action. */
export function toast(text, { label, action, end, seconds = 8 } = {}) {
  hideToast();
  $("toast-text").textContent = text;
  $("toast-button").hidden = !label;
  $("toast-button").textContent = label ?? "";
  $("toast-button").onclick = () => {
    toastEnd = null;
    hideToast();
    action?.();
  };
  const open = document.querySelector("dialog[open]");
  (open ?? document.body).append($("toast"));
  $("toast").hidden = false;
  toastEnd = end ?? null;
  toastTimer = setTimeout(hideToast, seconds * 1000);
}

/** Ends the bar, and does what was put off. */
export function hideToast() {
  clearTimeout(toastTimer);
  const end = toastEnd;
  toastEnd = null;
  $("toast").hidden = true;
  document.body.append($("toast"));
  end?.();
}

/** Bytes in words. */
export function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return `${Math.max(1, Math.round(bytes / 1e6))} MB`;
}

/** Seconds in words. */
export function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** `1 picture`, `2 pictures`. */
export function count(n, one, many = `${one}s`) {
  return `${n} ${n === 1 ? one : many}`;
}

/** A value for people: parts of an object one after the other. */
export function words(value) {
  if (Array.isArray(value)) return value.map(words).join(", ");
  if (value === null || typeof value !== "object") return String(value);
  const parts = Object.entries(value).filter(([, part]) => part !== null && part !== false);
  return parts.map(([name, part]) => `${name.replaceAll("_", " ")} ${words(part)}`).join(", ");
}

/** Runs a function when calls have ceased for some time. */
export function debounce(run, milliseconds) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), milliseconds);
  };
}

/** A message as a sentence, without the name of the field before it. */
export function plain(error, field) {
  let message = error.message ?? String(error);
  for (const head of ["the request: ", field ? `${field}: ` : ""]) if (head && message.startsWith(head)) message = message.slice(head.length);
  message = message.charAt(0).toUpperCase() + message.slice(1);
  if (error.retryAfter) message += ` Try again in ${count(error.retryAfter, "second")}.`;
  return message;
}
