//! What the description of the API says beyond its single operations: errors, keys, tags, and the native document.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// An error, as every native route answers it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorAnswer {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// What happened, and what to do.
    #[schema(example = "there is no job talk-1")]
    pub message: String,
    /// invalid_request_error, authentication_error, rate_limit_error or server_error.
    #[schema(example = "invalid_request_error")]
    pub r#type: String,
    /// The field of the request that it is about.
    pub param: Option<String>,
    /// A word for programs.
    #[schema(example = "not_found")]
    pub code: String,
}

/// The tags and what is under them, in the order of reading.
const TAGS: [(&str, &str); 8] = [
    (
        "jobs",
        "Recordings in, documents out: ask for a job, follow it, take its result.",
    ),
    (
        "uploads",
        "Uploads that go on after a break, in the protocol tus 1.0.",
    ),
    (
        "callbacks",
        "What was told to the callback of a job, signed as Standard Webhooks says, and telling it again.",
    ),
    (
        "speakers",
        "Voices that are remembered and named in later recordings.",
    ),
    (
        "openai",
        "The audio API of OpenAI: its client programs work when their base URL is this server's `/v1`.",
    ),
    ("deepgram", "Recordings in the shape of Deepgram's API."),
    (
        "seed",
        "The first API of this service, kept as it was for programs that speak it.",
    ),
    (
        "service",
        "Whether the service lives and works, and its numbers.",
    ),
];

/// Errors that any operation behind a key may answer.
const LOCKED: [(&str, &str); 4] = [
    ("401", "no key, or one that is unknown or out of date"),
    ("403", "a key without the scope for this"),
    ("429", "too many requests; `Retry-After` says when"),
    ("503", "not now: the database is away; try again"),
];

/// Errors of operations that read a body.
const READING: [(&str, &str); 4] = [
    ("400", "cannot be understood"),
    ("408", "the body stopped coming"),
    ("413", "too large"),
    ("415", "a media type that is not taken"),
];

/// Errors of any operation.
const ALWAYS: [(&str, &str); 1] = [("500", "a fault of the server; its log says more")];

/// Completes the description: names of operations, possible errors, keys, tags and the native document.
pub fn complete(mut api: Value) -> Value {
    let mut used = Vec::new();
    for path in object(&mut api["paths"]).values_mut() {
        for (method, operation) in object(path) {
            if operation.get("responses").is_some() {
                let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
                name(operation, &tag);
                errors(operation, method);
                if !used.contains(&tag) {
                    used.push(tag);
                }
            }
        }
    }
    let tags = TAGS
        .iter()
        .filter(|(name, _)| used.iter().any(|u| u == name));
    api["tags"] = tags
        .map(|(name, text)| json!({"name": name, "description": text}))
        .collect();
    api["servers"] = json!([{"url": "/", "description": "this server"}]);
    api["security"] = json!([{"key": []}, {"x-api-key": []}]);
    let components = &mut api["components"];
    components["securitySchemes"] = json!({
        "key": {"type": "http", "scheme": "bearer", "description":
            "A key of this server (`sk-sori-…`), made by `sori keys add`; a server that listens on loopback only asks for none."},
        "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key in a header of its own."},
    });
    document(object(&mut components["schemas"]));
    api
}

/// The object at a place of the description; where there is none, there is an empty one afterwards.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made an object")
}

/// Names the operation after its tag too: functions of two modules may have one name.
fn name(operation: &mut Value, tag: &str) {
    let id = operation["operationId"].as_str().unwrap_or_default();
    operation["operationId"] = format!("{tag}_{id}").into();
}

/// Says which errors there may be, and that errors without a shape have the native one.
fn errors(operation: &mut Value, method: &str) {
    let open = operation["security"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| *one == json!({})));
    let reads = operation.get("requestBody").is_some();
    let responses = object(&mut operation["responses"]);
    let locked = LOCKED.iter().filter(|_| !open);
    let reading = READING.iter().filter(|_| reads);
    for (status, text) in locked.chain(reading).chain(&ALWAYS) {
        let response = responses.entry(*status).or_insert_with(|| json!({}));
        if response.get("description").is_none_or(|d| d == "") {
            response["description"] = (*text).into();
        }
    }
    for (status, response) in responses {
        let failed = status.starts_with(['4', '5']);
        if failed && response.get("content").is_none() && method != "head" {
            let schema = json!({"$ref": "#/components/schemas/Error"});
            response["content"] = json!({"application/json": {"schema": schema}});
        }
    }
}

/// Puts in the schema of the native document, with its parts as components of their own.
fn document(schemas: &mut Map<String, Value>) {
    let mut root = sori_timeline::schema();
    let parts = root
        .as_object_mut()
        .and_then(|root| {
            root.remove("$schema");
            root.remove("$defs")
        })
        .unwrap_or_default();
    refer(&mut root);
    schemas.insert("Document".to_owned(), root);
    for (name, mut part) in parts.as_object().cloned().unwrap_or_default() {
        refer(&mut part);
        schemas.insert(format!("Document{name}"), part);
    }
}

/// Turns references to parts of the schema into references to components.
fn refer(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(to) if name == "$ref" => {
                        *to = to.replace("#/$defs/", "#/components/schemas/Document");
                    }
                    value => refer(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(refer),
        _ => {}
    }
}

/// A file's bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "only its description is used")]
pub struct Bytes(Vec<u8>);

/// The native document; [`complete`] puts its real schema in the place of this one.
#[derive(ToSchema)]
#[schema(as = Document)]
#[allow(dead_code, reason = "only its name is used")]
pub struct NativeDocument {}
