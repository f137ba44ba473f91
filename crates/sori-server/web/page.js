// What all pages share: making elements, and asking the server with the key of this tab.
const KEY = "sori-key";

/** A new element. Texts become text nodes, never HTML; functions named on… become listeners. */
export function make(name, attributes, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...content.flat(Infinity).filter((part) => part !== null && part !== undefined && part !== false));
  return element;
}

/** The element of this id. */
export const at = (id) => document.getElementById(id);

/** The key of this tab, or an empty text. */
export function key() {
  try { return sessionStorage.getItem(KEY) ?? ""; } catch { return ""; }
}

/** Keeps the key until the tab is closed; an empty one is forgotten. */
export function keep(value) {
  try { value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY); } catch { /* it is asked for again */ }
}

/** The headers that present the key. */
export const presented = () => (key() ? { authorization: `Bearer ${key()}` } : {});

/** An answer that says what went wrong. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Asks the server; returns the answer, or throws `Refused` with the server's own words. */
export async function ask(method, path, body) {
  const headers = presented();
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = `${answer.status} ${answer.statusText}`;
  try { message = JSON.parse(text).error.message ?? message; } catch { /* not in the native shape */ }
  throw new Refused(answer.status, message);
}

/** Saves an answer as a file. */
export async function save(answer, name) {
  const url = URL.createObjectURL(await answer.blob());
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
