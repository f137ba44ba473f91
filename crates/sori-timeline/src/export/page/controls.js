// ---- Search

let hits = [], hit = -1;

/** Ranges of a text within a paragraph, across its words. */
function ranges(paragraph, text) {
  const exact = paragraph.textContent, lower = exact.toLowerCase();
  const searched = lower.length === exact.length ? lower : exact, found = [];
  const nodes = document.createTreeWalker(paragraph, NodeFilter.SHOW_TEXT);
  let node = nodes.nextNode(), before = 0;
  const place = (at) => {
    for (; at > before + node.length; node = nodes.nextNode()) before += node.length;
    return [node, at - before];
  };
  for (let at = searched.indexOf(text); at >= 0; at = searched.indexOf(text, at + text.length)) {
    const range = new Range();
    range.setStart(...place(at));
    range.setEnd(...place(at + text.length));
    found.push(range);
  }
  return found;
}

/** Marks ranges; a browser without highlights still counts them and goes to them. */
function mark(name, found) {
  if (globalThis.Highlight) CSS.highlights.set(name, new Highlight(...found));
}

function find(query) {
  const text = query.trim().toLowerCase(), open = paragraphs.filter((paragraph) => !paragraph.hidden);
  hits = text ? open.flatMap((paragraph) => ranges(paragraph.querySelector("p"), text)) : [];
  hit = -1;
  $("previous").disabled = $("next").disabled = !hits.length;
  $("found").value = text && !hits.length ? "0" : "";
  mark("hit", hits);
  mark("hit-now", []);
  stepHit(1);
}

function stepHit(by) {
  if (!hits.length) return;
  hit = (hit + by + hits.length) % hits.length;
  $("found").value = `${hit + 1} / ${hits.length}`;
  mark("hit-now", [hits[hit]]);
  reveal(hits[hit].endContainer.parentElement);
}

// ---- Keys, buttons, theme

const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");

function setTheme(theme) {
  if (theme) root.dataset.theme = theme;
  ink();
}

function switchTheme() {
  const next = (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark" ? "light" : "dark";
  kept.set("sori theme", next);
  setTheme(next);
}

const keys = {
  " ": toggle, k: toggle,
  j: () => seek(now - 10000), l: () => seek(now + 10000),
  ArrowLeft: () => seek(now - 5000), ArrowRight: () => seek(now + 5000),
  ",": () => stepWord(-1), ".": () => stepWord(1),
  n: () => stepTurn(1), p: () => stepTurn(-1),
  "[": () => stepSpeed(-1), "]": () => stepSpeed(1),
  "-": () => zoom(2), "+": () => zoom(0.5), "=": () => zoom(0.5),
  "/": () => $("query").select(), "?": () => $("help").showModal(),
  f: () => follow(!following), c: toggleCurves,
  i: () => (lit.size && card.hidden ? showCard([...lit][0]) : hideCard()),
  Escape: () => { hideCard(); zoomTo(0, duration); },
};

function onKey(event) {
  const { target, code } = event, typing = target.matches("select, input:not([type=checkbox])");
  if (event.ctrlKey || event.metaKey || event.altKey || typing || $("help").open) return;
  if (event.key === " " && (!source || target.matches("button, input, summary"))) return;
  // With a Korean keyboard the key k says ㅏ: letters then count by their place.
  const latin = /^[\x20-\x7e]$/.test(event.key), name = !latin && code.startsWith("Key") ? code.slice(3) : event.key;
  const action = keys[name.length === 1 ? name.toLowerCase() : name];
  if (!action) return;
  event.preventDefault();
  action();
}

function openControls() {
  const clicks = {
    play: toggle, back: keys.ArrowLeft, forward: keys.ArrowRight, follow: keys.f, curves: toggleCurves,
    in: keys["+"], out: keys["-"], previous: () => stepHit(-1), next: () => stepHit(1),
    theme: switchTheme, keys: keys["?"], close: () => $("help").close(),
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
  $("speed").addEventListener("change", () => setSpeed($("speed").value));
  $("volume").addEventListener("input", () => { audio.volume = $("volume").value; });
  const query = $("query");
  query.addEventListener("input", () => find(query.value));
  query.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) stepHit(event.shiftKey ? -1 : 1);
    if (event.key !== "Escape") return;
    find(query.value = "");
    query.blur();
  });
  addEventListener("keydown", onKey);
  addEventListener("beforeprint", () => all("details").forEach((part) => { part.open = true; }));
  dark.addEventListener("change", ink);
}

function nameLanguage(shownAt) {
  const inWords = new Intl.DisplayNames(root.lang, { type: "language" });
  try { shownAt.textContent = inWords.of(shownAt.textContent); } catch { /* not a language's code: it stays */ }
}

all("#language").forEach(nameLanguage);
$("tools").hidden = false;
$("search").hidden = !spans.length;
$("dock").hidden = !source && !turns.length && !graph;
openSound();
openSpeakers();
openTranscript();
openTimeline();
openControls();
setTheme(kept.get("sori theme"));
zoomTo(0, duration);
moveTo(0);
