//! The JSON Schema of the native document.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::Document;

/// The JSON Schema (draft 2020-12) of the native document as Sori writes it. `docs/document.schema.json` is a copy.
///
/// Fields of later versions are allowed, for documents are read by older programs too.
pub fn schema() -> Value {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Document>()
        .to_value()
}
