// ---- Timeline: ruler, waveform, a lane for each speaker, curves

const RULER = 16, HERTZ = [100, 200, 400];
const view = $("view"), canvas = $("canvas");
const graph = curves && { peaks: bytes(curves.peaks), loudness: bytes(curves.loudness), pitch: bytes(curves.pitch) };
/** The part of the recording that is shown, and whether curves are. */
const shown = { from: 0, to: duration, curves: false };

// Width and colours are kept: to ask for them while words change costs a layout of the whole transcript.
let width = 0, colours = [], muted = "", line = "";

const length = () => Math.max(1, shown.to - shown.from);
const xOf = (ms) => (ms - shown.from) / length() * width;
const timeAtX = (x) => shown.from + clamp(x / width, 0, 1) * length();
const timeAt = (event) => timeAtX(event.clientX - view.getBoundingClientRect().left);

/** Asks the style for the colours of this theme. */
function ink() {
  const colour = (property) => {
    view.style.color = `var(${property})`;
    return getComputedStyle(view).color;
  };
  colours = names.map((_, speaker) => colour(`--s${speaker % 10}`));
  [muted, line] = ["--muted", "--line"].map(colour);
  draw();
}

function movePlayhead() {
  const x = xOf(now);
  $("head").style.transform = `translateX(${x}px)`;
  $("head").hidden = x < 0 || x > width;
  view.setAttribute("aria-valuenow", Math.round(now / 1000));
  view.setAttribute("aria-valuetext", clock(now));
}

/** Who speaks between two times, who speaks most first; more than one only where they overlap. */
function speaking(from, to) {
  const spoken = new Map();
  for (const [speaker, start, end] of turns) {
    const common = Math.min(end, to) - Math.max(start, from);
    if (common > 0) spoken.set(speaker, (spoken.get(speaker) ?? 0) + common);
  }
  const speakers = [...spoken.keys()].sort((a, b) => spoken.get(b) - spoken.get(a));
  const together = [...spoken.values()].reduce((sum, ms) => sum + ms, 0);
  return together > to - from ? speakers : speakers.slice(0, 1);
}

function draw() {
  const narrow = innerWidth < 700, ratio = devicePixelRatio || 1;
  width = view.clientWidth;
  document.documentElement.style.setProperty("--dock", `${$("dock").offsetHeight}px`);
  if (!width) return;
  const wave = graph?.peaks.length ? (narrow ? 36 : 56) : 0;
  const row = Math.min(11, 72 / (names.length || 1)), lanes = names.length * row;
  const curve = shown.curves ? (narrow ? 64 : 88) : 0;
  const height = RULER + wave + lanes + curve + (curve ? 14 : 6);
  view.style.height = `${height}px`;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "11px system-ui, sans-serif";
  drawRuler(pen, height);
  if (wave) drawWave(pen, RULER, wave);
  drawLanes(pen, RULER + wave + 6, row);
  if (curve) drawCurves(pen, RULER + wave + lanes + 12, curve);
  movePlayhead();
}

function drawRuler(pen, height) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];
  const step = 1000 * (steps.find((seconds) => seconds * 1000 / length() * width >= 72) ?? 86400);
  for (let at = Math.ceil(shown.from / step); at * step <= shown.to; at++) {
    const x = Math.round(xOf(at * step));
    pen.fillStyle = line;
    pen.fillRect(x, 0, 1, height);
    pen.fillStyle = muted;
    if (x < width - 36) pen.fillText(clock(at * step, step < 1000 ? 1 : 0), x + 4, 10);
  }
}

/** Bars of the highest peak, in the colour of who speaks; upper and lower half where two do. */
function drawWave(pen, top, height) {
  const hop = curves.hop * 1000, middle = top + height / 2;
  for (let x = 0; x < width; x += 3) {
    const from = timeAtX(x), to = timeAtX(x + 3), first = Math.floor(from / hop);
    const part = graph.peaks.subarray(first, Math.max(first + 1, Math.ceil(to / hop)));
    const peak = part.reduce((a, b) => Math.max(a, b), 0);
    const half = Math.max(0.75, (peak / 255) ** 0.8 * height / 2);
    const who = speaking(from, to), [upper, lower] = [who[0], who[1] ?? who[0]];
    for (const [speaker, down] of [[upper, -half], [lower, half]]) {
      pen.globalAlpha = speaker == null ? (names.length ? 0.45 : 0.8) : hiddenSpeakers.has(speaker) ? 0.15 : 1;
      pen.fillStyle = colours[speaker] ?? muted;
      pen.fillRect(x, middle, 2, down);
    }
  }
  pen.globalAlpha = 1;
}

function drawLanes(pen, top, row) {
  const height = row * 0.72;
  for (const [speaker, start, end] of turns) {
    if (end < shown.from || start > shown.to) continue;
    const x = Math.max(-9, xOf(start)), wide = Math.max(2, Math.min(width + 9, xOf(end)) - x);
    pen.globalAlpha = hiddenSpeakers.has(speaker) ? 0.2 : 1;
    pen.fillStyle = colours[speaker];
    pen.beginPath();
    pen.roundRect(x, top + speaker * row, wide, height, Math.min(wide, height) / 2);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

/** Loudness as an area, pitch as dots in the speakers' colours along the logarithm of its range. */
function drawCurves(pen, top, height) {
  const hop = curves.hop * 1000, [low, high] = curves.pitch_range, floor = top + height;
  const yOf = (byte) => floor - (byte - 1) / 254 * height;
  pen.fillStyle = muted;
  pen.globalAlpha = 0.2;
  pen.beginPath();
  pen.moveTo(0, floor);
  for (let x = 0; x < width; x += 2) {
    const first = Math.floor(timeAtX(x) / hop);
    const part = graph.loudness.subarray(first, Math.max(first + 1, timeAtX(x + 2) / hop));
    const mean = part.reduce((sum, byte) => sum + byte, 0) / (part.length || 1);
    pen.lineTo(x, Math.min(floor, yOf(mean)));
  }
  pen.lineTo(width, floor);
  pen.fill();
  pen.globalAlpha = 1;
  const step = Math.max(1, Math.floor(length() / hop / width));
  for (let at = Math.max(0, Math.floor(shown.from / hop)); at * hop < shown.to && at < graph.pitch.length; at += step) {
    if (!graph.pitch[at]) continue;
    const ms = (at + 0.5) * hop;
    pen.fillStyle = colours[speaking(ms, ms + 1)[0]] ?? muted;
    pen.fillRect(xOf(ms) - 1, yOf(graph.pitch[at]) - 1, 2.5, 2.5);
  }
  for (const hz of HERTZ) {
    const y = Math.round(yOf(1 + 254 * Math.log(hz / low) / Math.log(high / low)));
    pen.fillStyle = line;
    pen.fillRect(0, y, width, 1);
    pen.fillStyle = muted;
    pen.fillText(`${hz} Hz`, 4, y - 3);
  }
  pen.textAlign = "right";
  pen.fillText(`▪▪ ${say.pitch}   ▮ ${say.loudness}`, width - 4, top + 6);
  pen.textAlign = "left";
}

/** Shows the part between two times: half a second at least, everything at most. */
function zoomTo(from, to) {
  const span = clamp(to - from, Math.min(500, duration), duration), whole = span >= duration;
  shown.from = clamp(from, 0, duration - span);
  shown.to = shown.from + span;
  $("pan").max = duration - span;
  $("pan").value = shown.from;
  $("pan").hidden = $("out").disabled = whole;
  draw();
}

function zoom(factor, around = clamp(now, shown.from, shown.to)) {
  zoomTo(around - (around - shown.from) * factor, around + (shown.to - around) * factor);
}

function toggleCurves() {
  shown.curves = !shown.curves && !$("curves").hidden;
  $("curves").setAttribute("aria-pressed", shown.curves);
  draw();
}

function showTip(event) {
  const ms = timeAt(event), tip = $("tip");
  tip.textContent = [clock(ms, 1), ...speaking(ms, ms + 1).map((speaker) => names[speaker])].join(" · ");
  tip.hidden = false;
  tip.style.left = `${clamp(xOf(ms) - tip.offsetWidth / 2, 0, width - tip.offsetWidth)}px`;
}

/** A click goes there. Dragging a mouse chooses the part to show; a finger takes the playhead along. */
function openTimeline() {
  let began = null;
  const chosen = (event) => [began.ms, timeAt(event)].sort((a, b) => a - b);
  view.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    began = { x: event.clientX, ms: timeAt(event), dragged: false };
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    showTip(event);
    if (!began || !began.dragged && Math.abs(event.clientX - began.x) < 5) return;
    began.dragged = true;
    if (event.pointerType === "touch") return seek(timeAt(event));
    const [from, to] = chosen(event);
    $("mark").hidden = false;
    $("mark").style.left = `${xOf(from)}px`;
    $("mark").style.width = `${xOf(to) - xOf(from)}px`;
  });
  view.addEventListener("pointerup", (event) => {
    if (began?.dragged && event.pointerType !== "touch") zoomTo(...chosen(event));
    else if (began) seek(timeAt(event));
  });
  for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, () => {
    began = null;
    $("mark").hidden = true;
  });
  view.addEventListener("pointerleave", () => { $("tip").hidden = true; });
  view.addEventListener("wheel", (event) => {
    const across = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !across) return;
    event.preventDefault();
    const moved = event.deltaX / width * length();
    if (across) zoomTo(shown.from + moved, shown.to + moved);
    else zoom(1.01 ** clamp(event.deltaY, -50, 50), timeAt(event));
  }, { passive: false });
  $("pan").addEventListener("input", () => zoomTo(Number($("pan").value), Number($("pan").value) + length()));
  view.setAttribute("aria-valuemax", Math.round(duration / 1000));
  $("whole").textContent = clock(duration);
  $("curves").hidden = !graph?.loudness.length && !graph?.pitch.length;
  new ResizeObserver(draw).observe($("dock"));
}

