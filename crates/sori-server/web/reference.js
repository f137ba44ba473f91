// The description of the API to read (/redoc), with a form below each operation to try it (/docs). Everything comes from
// /openapi.json; its texts are only ever text nodes.
import { at, keep, key, make, presented, save } from "./page.js";

const TRY = document.body.dataset.page === "try";
const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];
/** Most characters of an answer that are shown. */
const SHOWN = 200_000;
let api;

/** Follows references to what they mean. */
function meant(thing) {
  for (let depth = 0; thing?.$ref && depth < 10; depth++) {
    thing = thing.$ref.slice(2).split("/").reduce((place, part) => place?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], api);
  }
  return thing ?? {};
}
const nameOf = (schema) => schema?.$ref?.split("/").at(-1);

/** Text with `code` in it. */
const line = (text) => text.split("`").map((piece, i) => (i % 2 ? make("code", {}, piece) : piece));
/** The same in paragraphs. */
const prose = (text) => (text ?? "").split(/\n\s*\n/).filter(Boolean).map((part) => make("p", {}, line(part)));

/** What a value may be, in a few words. */
function type(schema) {
  if (!schema || schema === true) return "anything";
  if (schema.$ref) return meant(schema).enum ? type(meant(schema)) : nameOf(schema);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (choices) return [...new Set(choices.map(type))].join(schema.allOf ? " & " : " | ");
  const types = [schema.type ?? (schema.properties ? "object" : "anything")].flat();
  const text = types.map((name) => (name === "array" ? `list of ${type(schema.items)}` : name)).join(" | ");
  const limits = [["minimum", "≥"], ["maximum", "≤"], ["minLength", "length ≥"], ["maxLength", "length ≤"], ["default", "default"]]
    .filter(([limit]) => (schema[limit] ?? null) !== null).map(([limit, sign]) => `${sign} ${JSON.stringify(schema[limit])}`);
  const format = schema.format && !/^u?int|double|float/.test(schema.format) ? [schema.format] : [];
  return [text, ...format, ...limits].join(", ");
}

/** The parts of a schema that are objects or lists of objects themselves. */
function inner(schema) {
  if (!schema || schema === true) return [];
  if (schema.$ref) return inner(meant(schema)).length ? [schema] : [];
  if (schema.items) return inner(schema.items);
  if (schema.properties) return [schema];
  if (typeof schema.additionalProperties === "object") return inner(schema.additionalProperties);
  return (schema.oneOf ?? schema.anyOf ?? schema.allOf ?? []).flatMap(inner);
}

/** The fields of a schema; those of its parts are made when they are opened, for schemas may hold themselves. */
function fields(schema) {
  const whole = meant(schema);
  const parts = whole.properties ? [whole] : inner(whole).map(meant);
  return make("ul", { class: "schema" }, parts.flatMap((part) => Object.entries(part.properties ?? {}).map(([name, field]) => {
    const needed = part.required?.includes(name);
    const text = field.description ?? meant(field).description;
    return make("li", {}, make("code", {}, name), " ", make("span", { class: "type" }, type(field), needed ? ", always" : ""),
      prose(text), inner(field).map((deeper) => folded(nameOf(deeper) ?? "fields", deeper)));
  })));
}

const folded = (title, schema) => fold(title, () => fields(schema));

/** What is made when it is opened. */
function fold(title, content) {
  const made = make("details", { ontoggle: () => made.open && made.fill() }, make("summary", {}, title));
  made.fill = () => made.childElementCount === 1 && made.append(content());
  return made;
}

/** A value that fits the schema. */
function example(schema, depth = 0) {
  if (!schema || schema === true) return null;
  if (schema.example !== undefined) return schema.example;
  if (schema.examples?.length) return schema.examples[0];
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.$ref) return depth > 6 ? null : example(meant(schema), depth + 1);
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => example(part, depth + 1)));
  const choice = (schema.oneOf ?? schema.anyOf)?.find((one) => one.type !== "null");
  if (choice) return example(choice, depth + 1);
  const kind = [schema.type].flat()[0];
  if (schema.properties) {
    const all = Object.entries(schema.properties).filter(() => depth < 5);
    return Object.fromEntries(all.map(([name, field]) => [name, example(field, depth + 1)]));
  }
  if (kind === "array") return depth > 5 ? [] : [example(schema.items, depth + 1)];
  return { string: "text", integer: schema.minimum ?? 1, number: schema.minimum ?? 1.5, boolean: true, object: {} }[kind] ?? null;
}

const quoted = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;

/** The same request for a shell. */
function curl(operation) {
  const lines = [`curl${operation.method === "get" ? "" : operation.method === "head" ? " -I" : ` -X ${operation.method.toUpperCase()}`} ${quoted(location.origin + operation.path)}`];
  if (!operation.open) lines.push(`-H "Authorization: Bearer $SORI_KEY"`);
  const content = operation.requestBody?.content ?? {};
  if (content["multipart/form-data"]) {
    const files = form(content["multipart/form-data"].schema).filter((field) => field.file);
    lines.push(...(files.length ? files : [{ name: "file" }]).map((field) => `-F ${field.name}=@talk.wav`));
  } else if (content["application/json"]) {
    lines.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(example(content["application/json"].schema)))}`);
  } else if (Object.keys(content).length) {
    lines.push(`-H 'Content-Type: ${Object.keys(content)[0]}'`, "--data-binary @talk.wav");
  }
  return lines.join(" \\\n  ");
}

/** The fields of a form. */
function form(schema) {
  const file = (field) => [field, field.items, ...(field.oneOf ?? field.anyOf ?? [])].some((one) => one && (one.format === "binary" || one.contentMediaType));
  return Object.entries(meant(schema).properties ?? {}).map(([name, field]) => ({ name, file: file(field) || name === "file", text: field.description }));
}

function parameters(list) {
  if (!list.length) return [];
  return [make("h4", {}, "Parameters"), make("table", {},
    make("thead", {}, make("tr", {}, ["Name", "In", "Meaning"].map((title) => make("th", { scope: "col" }, title)))),
    make("tbody", {}, list.map((one) => make("tr", {},
      make("td", {}, make("code", {}, one.name), one.required ? " (needed)" : ""), make("td", {}, one.in),
      make("td", {}, make("span", { class: "type" }, type(one.schema)), prose(one.description))))))];
}

function contents(content) {
  return Object.entries(content ?? {}).map(([kind, { schema }]) => [
    make("p", {}, make("code", {}, kind), " ", make("span", { class: "type" }, type(schema))),
    inner(schema).length ? folded("Fields", schema) : null,
    /json/.test(kind) && inner(schema).length ? sample(schema) : null,
  ]).flat();
}

const sample = (schema) => fold("Example", () => make("pre", {}, JSON.stringify(example(schema), null, 2)));

function answers(responses) {
  const good = ([status]) => status < "4";
  const all = Object.entries(responses).map(([status, response]) => [status, meant(response)]);
  all.sort((a, b) => good(b) - good(a) || a[0] - b[0]);
  const row = ([status, response]) => make("tr", {}, make("th", { scope: "row" }, make("code", {}, status)),
    make("td", {}, prose(response.description), good([status]) ? contents(response.content) : null),
    make("td", { class: "type" }, good([status]) ? "" : Object.values(response.content ?? {}).map((one) => type(one.schema)).join(" | ")));
  return [make("h4", {}, "Answers"), make("table", {}, make("tbody", {}, all.map(row)))];
}

/** The form with which an operation is tried. */
function trial(operation) {
  const id = (name) => `${operation.operationId}-${name}`;
  const labelled = (name, input, note) => make("label", {}, name, " ", note ? make("span", {}, note) : "", input);
  const given = operation.parameters.filter((one) => one.in !== "cookie").map((one) => ({ one, input: make("input", { id: id(one.in + one.name), required: one.in === "path", autocomplete: "off" }) }));
  const content = operation.requestBody?.content ?? {};
  const kinds = Object.keys(content);
  const kind = make("select", { onchange: () => body() }, kinds.map((name) => make("option", { value: name }, name)));
  const place = make("div", { class: "fields" });
  let read = () => undefined;
  const body = () => {
    const schema = content[kind.value]?.schema;
    if (kind.value === "multipart/form-data") {
      const inputs = form(schema).map((field) => ({ field, input: make("input", { type: field.file ? "file" : "text", autocomplete: "off" }) }));
      place.replaceChildren(...inputs.map(({ field, input }) => labelled(field.name, input)));
      read = () => {
        const data = new FormData();
        for (const { field, input } of inputs) {
          if (field.file) [...input.files].forEach((file) => data.append(field.name, file, file.name));
          else if (input.value) data.append(field.name, input.value);
        }
        return data;
      };
    } else if (/json/.test(kind.value)) {
      const text = make("textarea", { rows: 8, spellcheck: "false" });
      text.value = JSON.stringify(example(schema), null, 2);
      place.replaceChildren(make("label", { class: "wide" }, "Body", text));
      read = () => text.value;
    } else {
      const file = make("input", { type: "file" });
      place.replaceChildren(labelled("Body", file));
      read = () => file.files[0] ?? "";
    }
  };
  if (kinds.length) body();
  const out = make("div", { "aria-live": "polite" });
  const send = make("button", { class: "main" }, `Send ${operation.method.toUpperCase()}`);
  const stop = make("button", { type: "button", hidden: true }, "Stop");
  const made = make("form", { class: "try", onsubmit: async (event) => {
    event.preventDefault();
    const breaker = new AbortController();
    stop.onclick = () => breaker.abort();
    [send.disabled, stop.hidden] = [true, false];
    try { await answer(operation, given, { kind: kinds.length ? kind.value : "", body: read(), signal: breaker.signal }, out); }
    catch (error) { out.append(make("p", { class: "bad" }, breaker.signal.aborted ? "Stopped." : error.message)); }
    [send.disabled, stop.hidden] = [false, true];
  } }, make("h4", {}, "Try it"), make("div", { class: "fields" }, given.map(({ one, input }) => labelled(one.name, input)), kinds.length > 1 ? labelled("Body as", kind) : null),
    place, make("div", { class: "buttons" }, send, stop), out);
  return made;
}

/** Sends the request of a form and shows the answer as it comes. */
async function answer(operation, given, { kind, body, signal }, out) {
  let path = operation.path;
  const query = new URLSearchParams(), headers = presented();
  for (const { one, input } of given) {
    if (!input.value) continue;
    if (one.in === "path") path = path.replace(`{${one.name}}`, encodeURIComponent(input.value));
    else if (one.in === "query") query.append(one.name, input.value);
    else headers[one.name] = input.value;
  }
  // A form's own content type names its boundary; the browser writes it.
  if (kind && kind !== "multipart/form-data") headers["content-type"] = kind;
  const address = `${path}${query.size ? `?${query}` : ""}`;
  const begun = performance.now();
  const got = await fetch(address, { method: operation.method.toUpperCase(), headers, body, signal });
  const type = got.headers.get("content-type") ?? "";
  const head = [...got.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  out.replaceChildren(make("p", {}, make("strong", { class: got.ok ? "" : "bad" }, `${got.status} ${got.statusText}`), ` ${Math.round(performance.now() - begun)} ms · ${address}`),
    make("details", {}, make("summary", {}, "Headers"), make("pre", {}, head)));
  if (!/json|text|subrip|xml/.test(type)) {
    if (got.ok && type) await save(got, "answer");
    return;
  }
  const shown = make("pre", { tabindex: "0" });
  out.append(shown);
  const reader = got.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let piece = await reader.read(); !piece.done && text.length < SHOWN; piece = await reader.read()) {
    shown.append(piece.value);
    text += piece.value;
  }
  if (text.length >= SHOWN) shown.append("\n… and more");
  else if (/json/.test(type)) try { shown.textContent = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is shown as it came */ }
}

function section(operation) {
  const body = operation.requestBody;
  return make("section", { class: "operation card", id: operation.operationId, "aria-labelledby": `${operation.operationId}-title` },
    make("h3", { id: `${operation.operationId}-title` }, make("span", { class: `verb ${operation.method}` }, operation.method), make("code", {}, operation.path)),
    make("p", {}, make("strong", {}, line(operation.summary ?? "")), operation.open ? make("span", { class: "faint" }, " (no key needed)") : ""),
    prose(operation.description), parameters(operation.parameters),
    body ? [make("h4", {}, "Body"), prose(body.description), contents(body.content)] : [],
    answers(operation.responses), make("h4", {}, "With curl"), make("pre", { tabindex: "0" }, curl(operation)),
    TRY ? trial(operation) : null);
}

function operations() {
  return Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => ({
    ...item[method], path, method, parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])].map(meant),
    open: item[method].security?.some((one) => !Object.keys(one).length),
  })));
}

function show() {
  const all = operations();
  const groups = api.tags.map((tag) => ({ ...tag, list: all.filter((one) => one.tags?.[0] === tag.name) }));
  const lists = groups.map((group) => make("ul", {}, make("li", {}, make("strong", {}, make("a", { href: `#tag-${group.name}` }, group.name))),
    group.list.map((one) => make("li", { "data-find": `${one.method} ${one.path} ${one.summary}`.toLowerCase() },
      make("a", { href: `#${one.operationId}` }, make("span", { class: `verb ${one.method}` }, one.method), " ", one.path)))));
  const find = make("input", { type: "search", placeholder: "Find", "aria-label": "Find an operation", oninput: () => {
    for (const row of at("contents").querySelectorAll("[data-find]")) row.hidden = !row.dataset.find.includes(find.value.trim().toLowerCase());
  } });
  at("contents").replaceChildren(find, ...lists);
  const schemes = Object.entries(api.components.securitySchemes ?? {});
  const schemas = Object.entries(api.components.schemas ?? {});
  at("article").replaceChildren(
    make("h1", {}, api.info.title, " ", make("span", { class: "faint" }, api.info.version)), ...prose(api.info.description),
    make("p", { class: "faint" }, "The same for programs: ", make("a", { href: "/openapi.json" }, "/openapi.json"), ` (OpenAPI ${api.openapi})`),
    make("h2", {}, "Keys"), make("dl", { class: "facts" }, schemes.map(([name, scheme]) => [make("dt", {}, make("code", {}, name)), make("dd", {}, prose(scheme.description))])),
    ...groups.flatMap((group) => [make("h2", { id: `tag-${group.name}` }, group.name), ...prose(group.description), ...group.list.map(section)]),
    make("h2", { id: "schemas" }, "Schemas"),
    make("div", { class: "card" }, schemas.map(([name, schema]) => make("div", {}, make("h3", {}, make("code", {}, name)), prose(schema.description),
      inner(schema).length ? folded("Fields", schema) : make("p", { class: "type" }, type(schema))))));
  at("article").removeAttribute("aria-busy");
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

async function start() {
  // Paper cannot be opened: the fields are printed, those of their parts stand under Schemas.
  addEventListener("beforeprint", () => {
    for (const one of at("article").querySelectorAll("details")) {
      one.fill?.();
      one.open = true;
    }
  });
  if (TRY) {
    at("key").value = key();
    at("key").addEventListener("change", () => keep(at("key").value.trim()));
    at("lock").addEventListener("submit", (event) => event.preventDefault());
  }
  try {
    api = await (await fetch("/openapi.json")).json();
    show();
  } catch (error) {
    at("article").replaceChildren(make("p", { class: "bad", role: "alert" }, `The description cannot be read: ${error.message}`));
  }
}
start();
