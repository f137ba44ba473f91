// The dashboard: asks for jobs and numbers again and again while somebody looks. Texts of jobs are only ever text nodes.
import { ask, at, keep, key, make, presented, Refused, save } from "./page.js";
import { translate, word } from "./words.js";

const FORMATS = ["html", "json", "srt", "vtt", "txt", "docx", "csv", "tsv", "rttm", "ctm", "textgrid", "whisperx"];
const STATES = ["queued", "running", "retrying", "done", "partial", "failed", "cancelled"];
const PAGE = 20;
const QUICK = 1000, SLOW = 5000;
let shown = PAGE, timer, asking = false, again = false;

/** Seconds as people read them. */
function span(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const [h, m, s] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  return (h ? [h, String(m).padStart(2, "0")] : [m]).concat(String(s).padStart(2, "0")).join(":");
}
const time = (text) => new Date(text).toLocaleString(navigator.language, { dateStyle: "medium", timeStyle: "medium" });
/** A state of a job, an upload or a callback: words of the server's own, in which class names are safe. */
const badge = (state) => make("span", { class: `state ${state}` }, word(state));

/** A button that is dead while its work is done, and says what went wrong. */
function button(text, label, work) {
  const made = make("button", { type: "button", "aria-label": `${word(text)}: ${label}`, onclick: async () => {
    made.disabled = true;
    try { await work(); } catch (error) { trouble(error.message); }
    made.disabled = false;
    refresh();
  } }, word(text));
  return made;
}

function trouble(text) {
  at("trouble").hidden = !text;
  at("trouble").textContent = text;
}

const path = (job, rest = "") => `/v1/jobs/${encodeURIComponent(job.id)}${rest}`;

/** The links to a job's results; with a key they are fetched, since links cannot present one. */
function results(job) {
  const links = FORMATS.map((format) => {
    const href = path(job, `/result?format=${format}`);
    const fetched = key() || format !== "html";
    const onclick = fetched && (async (event) => {
      event.preventDefault();
      const stem = (job.name || job.id).replace(/\.[^.]*$/, "");
      try { await save(await ask("GET", href), `${stem}.${format === "whisperx" ? "whisperx.json" : format}`); } catch (error) { trouble(error.message); }
    });
    return make("a", { href, target: fetched ? null : "_blank", rel: "noopener", onclick: onclick || null }, format);
  });
  return make("nav", { class: "links", "aria-label": `${word("Results")}: ${job.name || job.id}` }, links);
}

/** What happened to a job's callbacks. */
async function callbacks(job, place) {
  const list = await (await ask("GET", path(job, "/deliveries"))).json();
  if (!list.length) return place.replaceChildren(make("p", { class: "faint" }, word("No callbacks.")));
  place.replaceChildren(make("h4", {}, word("Callbacks")), ...list.map((delivery) => {
    const last = delivery.attempts.at(-1);
    const result = last ? `${last.status ?? last.error ?? ""} · ${delivery.attempts.length} ${word("tries")}` : "";
    return make("p", { class: "job" }, badge(delivery.state), make("span", { class: "name" }, `${delivery.kind} → ${delivery.url}`),
      make("span", { class: "faint" }, result),
      button("Replay", delivery.kind, async () => {
        await ask("POST", `/v1/deliveries/${encodeURIComponent(delivery.id)}/replay`);
        await callbacks(job, place);
      }));
  }));
}

function details(job) {
  const fact = (name, value) => value !== null && value !== undefined && value !== "" && [make("dt", {}, word(name)), make("dd", {}, String(value))];
  const place = make("div", {});
  const work = job.started_at && job.finished_at && (new Date(job.finished_at) - new Date(job.started_at)) / 1000;
  const ended = ["done", "partial", "failed", "cancelled"].includes(job.state);
  const facts = [
    fact("Id", job.id), fact("Created", time(job.created_at)), fact("Source", job.source),
    fact("Length", job.duration && span(job.duration)), fact("Took", work && span(work)),
    fact("Speed", work && job.duration && job.state === "done" && `${(job.duration / work).toFixed(1)} ×`),
    fact("Attempts", job.attempts), fact("Model", job.options?.model), fact("Language", job.options?.language), fact("Priority", word(job.priority)),
  ];
  const remove = ended && button("Delete", job.name || job.id, async () => {
    if (confirm(word("Delete this job and all that is kept of it?"))) await ask("DELETE", path(job, "?purge=true"));
  });
  const made = make("details", { ontoggle: async () => {
    if (made.open) try { await callbacks(job, place); } catch (error) { trouble(error.message); }
  } }, make("summary", {}, word("Details")), make("dl", { class: "facts" }, facts), place, remove);
  return made;
}

/** A job as a list item. */
function item(job) {
  const name = job.name || job.id;
  const stoppable = ["queued", "running", "retrying"].includes(job.state);
  const buttons = [
    stoppable && button("Cancel", name, () => ask("DELETE", path(job))),
    (job.state === "failed" || job.state === "cancelled") && button("Retry", name, () => ask("POST", path(job, "/retry"))),
  ];
  const bar = job.state === "running" && [
    make("progress", { max: 100, value: job.progress, "aria-label": name }),
    make("span", { class: "faint" }, `${job.progress} % ${job.stage ? `· ${word(job.stage)}` : ""}`),
  ];
  return make("li", { id: `job-${job.id}` },
    make("div", { class: "job" }, badge(job.state), make("span", { class: "name" }, name),
      make("span", { class: "faint" }, time(job.created_at)), make("span", { class: "buttons" }, buttons)),
    bar, job.error && make("p", { class: job.state === "partial" ? "faint" : "bad" }, `${job.error.kind}: ${job.error.message}`),
    job.result_url && results(job), details(job));
}

/** Brings a list up to date; items that did not change stay, with what is focused or open in them. */
function fill(list, jobs, none) {
  const old = new Map([...list.children].map((element) => [element.id, element]));
  const next = jobs.map((job) => {
    const text = JSON.stringify(job);
    const before = old.get(`job-${job.id}`);
    if (before?.dataset.job === text) return before;
    if (before && job.state === "running" && before.dataset.state === "running") {
      before.querySelector("progress").value = job.progress;
      before.querySelector("progress + .faint").textContent = `${job.progress} % ${job.stage ? `· ${word(job.stage)}` : ""}`;
      before.dataset.job = text;
      return before;
    }
    const made = item(job);
    Object.assign(made.dataset, { job: text, state: job.state });
    if (before?.querySelector("details")?.open) made.querySelector("details").open = true;
    return made;
  });
  if (!next.length) next.push(make("li", { class: "none" }, word(none)));
  if (next.length !== list.children.length || next.some((element, i) => element !== list.children[i])) list.replaceChildren(...next);
}

function numbers(stats) {
  const models = Object.entries(stats.models).map(([stage, model]) => `${word(stage)}: ${model}`).join(" · ");
  const speed = stats.times_real_time;
  const cells = [
    ["Waiting", stats.queued], ["Running", stats.running],
    ["Oldest waiting", stats.oldest_seconds === null ? "–" : span(stats.oldest_seconds)],
    ["× real time", speed === null ? "–" : speed.toFixed(speed < 10 ? 1 : 0)],
    ["Workers ready", stats.workers_ready], ["Failed", stats.by_state.failed], ["Callbacks waiting", stats.deliveries_waiting ?? "–"],
    ["Models", models || word("none yet"), "wide"],
  ];
  at("numbers").replaceChildren(...cells.map(([name, value, kind]) =>
    make("div", { class: kind }, make("dt", {}, word(name)), make("dd", {}, String(value)))));
  at("version").textContent = stats.version;
}

/** Asks for everything that is shown. */
async function refresh() {
  clearTimeout(timer);
  if (asking) { again = true; return; }
  asking = true;
  let pause = SLOW;
  try {
    const wanted = at("state").value;
    const list = (state, limit) => ask("GET", `/v1/jobs?limit=${limit}${state ? `&state=${state}` : ""}`).then((answer) => answer.json());
    const [stats, running, recent] = await Promise.all([
      ask("GET", "/v1/stats").then((answer) => answer.json()), list("running", 50), list(wanted, shown),
    ]);
    numbers(stats);
    fill(at("work"), running.jobs, "Nothing is at work.");
    fill(at("recent"), wanted ? recent.jobs : recent.jobs.filter((job) => job.state !== "running"), "No jobs.");
    at("more").hidden = !recent.next || shown >= 500;
    if (stats.running + stats.queued > 0) pause = QUICK;
    unlock(true);
    trouble(stats.stopping ? word("stopping") : "");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) { unlock(false); pause = 0; }
    else trouble(error instanceof Refused ? error.message : word("The server does not answer; trying again."));
  }
  asking = false;
  if (again) { again = false; refresh(); }
  else if (pause && !document.hidden) timer = setTimeout(refresh, pause);
}

function unlock(open) {
  const was = at("lock").hidden;
  at("lock").hidden = open;
  at("open").hidden = !open;
  at("forget").hidden = !key() || !open;
  if (!open) {
    at("refused").textContent = key() ? word("The key was refused.") : "";
    keep("");
    if (was) at("key").focus();
  }
}

/** Sends a recording, with its progress; XMLHttpRequest, since fetch tells of none. */
function send(file) {
  const bar = make("progress", { max: 1, value: 0, "aria-label": file.name });
  const note = make("span", { class: "faint" });
  const request = new XMLHttpRequest();
  const stop = make("button", { type: "button", onclick: () => request.abort() }, word("Cancel"));
  const row = make("li", {}, make("div", { class: "job" }, badge("uploading"), make("span", { class: "name" }, file.name), note, stop), bar);
  const end = (error) => {
    bar.remove();
    if (!error) return row.remove();
    stop.replaceWith(make("button", { type: "button", onclick: () => row.remove() }, "×"));
    row.append(make("p", { class: "bad" }, error));
  };
  const form = new FormData();
  for (const [name, id] of [["language", "language"], ["speakers", "speakers"], ["model", "model"], ["priority", "priority"], ["callback_url", "callback"]]) {
    if (at(id).value.trim()) form.append(name, at(id).value.trim());
  }
  form.append("file", file, file.name);
  request.upload.onprogress = (event) => {
    bar.value = event.loaded / event.total;
    note.textContent = `${Math.floor(bar.value * 100)} %`;
  };
  request.onload = () => {
    let message = `${request.status} ${request.statusText}`;
    try { message = JSON.parse(request.responseText).error.message; } catch { /* not in the native shape */ }
    end(request.status < 300 ? "" : message);
    refresh();
  };
  request.onerror = () => end(word("The server does not answer; trying again."));
  request.onabort = () => end("");
  request.open("POST", "/v1/jobs");
  for (const [name, value] of Object.entries(presented())) request.setRequestHeader(name, value);
  at("uploads").append(row);
  request.send(form);
}

async function models() {
  try {
    const installed = await (await ask("GET", "/v1/installed")).json();
    for (const model of installed.filter((one) => one.kind === "whisper")) at("model").append(make("option", { value: model.name }, model.name));
  } catch { /* the list of models is a comfort */ }
}

function start() {
  translate(document);
  document.title = word("Sori: jobs");
  at("state").append(...["", ...STATES].map((state) => make("option", { value: state }, word(state || "all"))));
  at("language").placeholder = word("detect");
  at("speakers").placeholder = word("unknown");
  at("state").addEventListener("change", () => { shown = PAGE; refresh(); });
  at("more").addEventListener("click", () => { shown = Math.min(shown + 50, 500); refresh(); });
  at("forget").addEventListener("click", () => { keep(""); refresh(); });
  at("lock").addEventListener("submit", (event) => {
    event.preventDefault();
    keep(at("key").value.trim());
    at("key").value = "";
    refresh().then(models);
  });
  at("files").addEventListener("change", (event) => { [...event.target.files].forEach(send); event.target.value = ""; });
  const drop = at("drop");
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  // A file that misses the field must not replace the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => [...event.dataTransfer.files].forEach(send));
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  refresh().then(() => at("lock").hidden && models());
}
start();
