// What the browser keeps between visits. Without storage everything works, and is forgotten.

const PREFIX = "smelt.";

/** A value that was kept, or `usual`. */
export function kept(name, usual) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? usual : JSON.parse(text);
  } catch {
    return usual;
  }
}

/** Keeps a value; `undefined` forgets it. */
export function keep(name, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch { /* Storage is off or full. */ }
}

/** The key of the server: of this tab, or remembered. */
export function keptKey() {
  try {
    return sessionStorage.getItem(PREFIX + "key") ?? localStorage.getItem(PREFIX + "key");
  } catch {
    return null;
  }
}

/** Keeps the key for this tab, and for later visits where `remember` says so. */
export function keepKey(key, remember) {
  try {
    sessionStorage.setItem(PREFIX + "key", key);
    if (remember) localStorage.setItem(PREFIX + "key", key);
    else localStorage.removeItem(PREFIX + "key");
  } catch { /* It is asked for again then. */ }
}

/** A random name for this browser, so that the queue is fair among people. */
export const CLIENT = (() => {
  const known = kept("client", null);
  if (typeof known === "string") return known;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const name = "page-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  keep("client", name);
  return name;
})();
