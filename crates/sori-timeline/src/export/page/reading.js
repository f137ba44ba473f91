"use strict";
// Brings the page to life, in three files that are read as one: reading (sound, the word being said, speakers), timeline,
// controls (search, keys, the start). Times are milliseconds from the start of the recording. A "word" is a number: the
// n-th <span> of the transcript and the n-th entry of each column in `words`.

const $ = (id) => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const { key, duration, names, turns, words, curves, audio: source, say } = JSON.parse($("data").textContent);
const spans = all("#transcript p > span");
const numbers = new Map(spans.map((span, word) => [span, word]));
const paragraphs = all(".turn");
const firstWord = (paragraph) => numbers.get(paragraph.querySelector("p > span"));

/** Settings of this reader; where a browser keeps none, they last as long as the page. */
const kept = {
  get(name) {
    try { return JSON.parse(localStorage.getItem(name)); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(name, JSON.stringify(value)); } catch { /* nothing is kept */ }
  },
};

/** `m:ss`, or `h:mm:ss` from an hour on, with that many decimals. */
function clock(ms, decimals = 0) {
  const unit = 10 ** decimals, ticks = Math.floor(Math.max(0, ms) / 1000 * unit + 1e-6);
  const two = (number) => String(number).padStart(2, "0");
  const seconds = Math.floor(ticks / unit), minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  const whole = hours ? `${hours}:${two(minutes % 60)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
  return decimals ? `${whole}.${String(ticks % unit).padStart(decimals, "0")}` : whole;
}

function bytes(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64), array = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) array[at] = text.charCodeAt(at);
  return array;
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// ---- Sound

const audio = $("audio");
let now = 0;

function openSound() {
  for (const part of all(".sound")) part.hidden = !source;
  if (!source) return;
  audio.addEventListener("play", () => { showPlaying(true); tick(); });
  audio.addEventListener("pause", () => showPlaying(false));
  audio.addEventListener("error", () => {
    $("missing").textContent = source.url ? `${say.missing}: ${decodeURIComponent(source.url)}` : say.missing;
    $("missing").hidden = false;
  });
  audio.src = source.url ?? URL.createObjectURL(new Blob([bytes($("recording").textContent)], { type: source.mime }));
  $("recording").remove();
}

function showPlaying(playing) {
  $("play").setAttribute("aria-label", playing ? say.pause : say.play);
  $("play").querySelector("use").setAttribute("href", playing ? "#i-pause" : "#i-play");
}

function toggle() {
  if (!source) return;
  if (audio.paused) audio.play().catch(() => { /* the error event says why */ });
  else audio.pause();
}

/** Follows the sound, once a frame while it plays. */
function tick() {
  if (audio.paused) return;
  moveTo(audio.currentTime * 1000);
  if (following) reveal(spanAt(now));
  requestAnimationFrame(tick);
}

function setSpeed(speed) {
  audio.playbackRate = speed;
  $("speed").value = speed;
}

function stepSpeed(by) {
  const { options, selectedIndex } = $("speed");
  setSpeed(options[clamp(selectedIndex + by, 0, options.length - 1)].value);
}

/** Goes to a time because the reader asked. */
function seek(ms) {
  ms = clamp(ms, 0, duration);
  if (source) audio.currentTime = ms / 1000;
  moveTo(ms);
  reveal(spanAt(ms));
}

// ---- The word being said

const byStart = spans.map((_, word) => word).sort((a, b) => words.start[a] - words.start[b]);
let lit = new Set(), active = null, following = true;

/** Place in `byStart` of the last word that begins by then, -1 before the first. */
function placeAt(ms) {
  let low = 0, high = byStart.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words.start[byStart[middle]] <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

const spanAt = (ms) => spans[byStart[placeAt(ms)]];

/** Shows a time: clock, playhead, the words said then. Two speakers' words can sound at once, hence the look back. */
function moveTo(ms) {
  now = ms = clamp(ms, 0, duration);
  $("now").textContent = clock(ms);
  const place = placeAt(ms), sounding = new Set();
  for (let at = place; at >= 0 && at > place - 8; at--) {
    const word = byStart[at];
    if (ms < words.start[word] + Math.max(words.length[word], 80)) sounding.add(spans[word]);
  }
  for (const span of lit) if (!sounding.has(span)) span.classList.remove("now");
  for (const span of sounding) span.classList.add("now");
  lit = sounding;
  const paragraph = spanAt(ms)?.closest(".turn");
  if (paragraph !== active) {
    active?.classList.remove("active");
    paragraph?.classList.add("active");
    active = paragraph;
  }
  if (now < shown.from || now > shown.to) zoomTo(now, now + length());
  else movePlayhead();
}

/** Scrolls a word into the middle part of the window, if it is not there. */
function reveal(span) {
  if (!span || span.closest("[hidden]")) return;
  const { top, bottom } = span.getBoundingClientRect();
  const roof = $("top").offsetHeight, floor = innerHeight - $("dock").offsetHeight;
  if (top > roof + 24 && bottom < floor - 48) return;
  // A long way is jumped: paragraphs that come into sight on it would grow and move the goal.
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches || Math.abs(top) > 2 * innerHeight;
  span.scrollIntoView({ block: "center", behavior: calm ? "instant" : "smooth" });
}

function follow(on) {
  following = on;
  $("follow").setAttribute("aria-pressed", on);
  if (on) reveal(spanAt(now));
}

function stepWord(by) {
  const place = clamp(placeAt(now) + by, 0, byStart.length - 1);
  if (byStart.length) seek(words.start[byStart[place]]);
}

function stepTurn(by) {
  const open = paragraphs.filter((paragraph) => !paragraph.hidden);
  const next = open[clamp(open.indexOf(active) + by, 0, open.length - 1)];
  if (next) seek(words.start[firstWord(next)]);
}

// ---- What is known about a word

const card = $("card");
let cardTimer = 0;

function showCard(span) {
  const word = numbers.get(span), { s } = span.closest(".turn").dataset, { o } = span.dataset;
  const start = words.start[word], end = start + words.length[word];
  const rows = [[say.time, `${clock(start, 2)} – ${clock(end, 2)}`]];
  if (s) rows.push([say.speaker, o ? `${names[s]}, ${say.with} ${names[o]}` : names[s]]);
  for (const [label, value, unit] of [
    [say.confidence, words.score[word], "%"],
    [say.loudness, words.volume[word], "dB"],
    [say.pitch, words.pitch[word], "Hz"],
    [say.centroid, words.centroid[word], "Hz"],
  ]) if (value != null) rows.push([label, `${value} ${unit}`.replace("-", "−")]);
  const list = document.createElement("dl");
  for (const [label, value] of rows) list.append(element("dt", label), element("dd", value));
  card.replaceChildren(element("strong", span.textContent), list);
  if (span.classList.contains("estimate")) card.append(element("small", say.key_estimate));
  card.hidden = false;
  const at = span.getBoundingClientRect(), above = at.top - card.offsetHeight - 8;
  card.style.left = `${clamp(at.left, 8, innerWidth - card.offsetWidth - 8)}px`;
  card.style.top = `${above > $("top").offsetHeight ? above : at.bottom + 8}px`;
}

function hideCard() {
  clearTimeout(cardTimer);
  card.hidden = true;
}

function openTranscript() {
  const main = $("transcript");
  main.addEventListener("click", (event) => {
    const button = event.target.closest(".at"), span = event.target.closest("p > span");
    if (button) seek(words.start[firstWord(button.closest(".turn"))]);
    else if (span && getSelection().isCollapsed) {
      seek(words.start[numbers.get(span)]);
      if (event.pointerType === "touch") showCard(span);
    }
  });
  main.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return;
    hideCard();
    const span = event.target.closest("p > span");
    if (span) cardTimer = setTimeout(showCard, 350, span);
  });
  main.addEventListener("pointerleave", hideCard);
  addEventListener("scroll", hideCard, { passive: true });
  // Who scrolls away while it plays wants to read there.
  const leave = () => audio.paused || follow(false);
  for (const scrolled of ["wheel", "touchmove"]) main.addEventListener(scrolled, leave, { passive: true });
}

// ---- Speakers: what they are called and who is shown

const hiddenSpeakers = new Set();

function rename(speaker, name) {
  names[speaker] = name;
  for (const who of all(`.turn[data-s="${speaker}"] .who`)) who.textContent = name;
}

function openSpeakers() {
  const given = kept.get(`sori ${key}`) ?? {};
  for (const row of all(".speakers tbody tr")) {
    const speaker = Number(row.dataset.s), [show, name] = all("input", row), original = names[speaker];
    if (given[speaker]) rename(speaker, name.value = given[speaker]);
    name.addEventListener("change", () => {
      name.value = given[speaker] = name.value.trim() || original;
      rename(speaker, name.value);
      kept.set(`sori ${key}`, given);
    });
    name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
    show.addEventListener("change", () => {
      if (show.checked) hiddenSpeakers.delete(speaker);
      else hiddenSpeakers.add(speaker);
      row.classList.toggle("off", !show.checked);
      for (const turn of all(`.turn[data-s="${speaker}"]`)) turn.hidden = !show.checked;
      find($("query").value);
      draw();
    });
  }
}

