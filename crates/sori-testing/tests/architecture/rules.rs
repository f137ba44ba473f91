//! The rules as tables.

/// Each crate and the crates of this workspace that it may name.
pub const EDGES: &[(&str, &[&str])] = &[
    ("sori-timeline", &[]),
    ("sori-dsp", &[]),
    ("sori-vectors", &[]),
    ("sori-kernels", &[]),
    ("sori-infer", &["sori-kernels"]),
    ("sori-media", &["sori-dsp", "sori-timeline"]),
    ("sori-speech", &["sori-timeline", "sori-dsp", "sori-infer"]),
    ("sori-vision", &["sori-timeline", "sori-infer"]),
    ("sori-insight", &["sori-timeline", "sori-infer"]),
    (
        "sori-engine",
        &[
            "sori-timeline",
            "sori-dsp",
            "sori-media",
            "sori-infer",
            "sori-speech",
            "sori-vision",
            "sori-insight",
        ],
    ),
    ("sori-store", &["sori-timeline", "sori-vectors"]),
    (
        "sori-server",
        &["sori-engine", "sori-store", "sori-timeline"],
    ),
    (
        "sori",
        &[
            "sori-timeline",
            "sori-dsp",
            "sori-vectors",
            "sori-infer",
            "sori-media",
            "sori-speech",
            "sori-vision",
            "sori-insight",
            "sori-engine",
            "sori-store",
            "sori-server",
            "sori-kernels",
            "sori-testing",
        ],
    ),
    // It is to know none of the product's types, so that a golden compare cannot be bent by what it checks.
    ("sori-testing", &[]),
];

/// What the tests of any crate may name besides: they need references, and recordings decoded.
pub const TEST_EDGES: &[&str] = &["sori-testing", "sori-media"];

/// Foreign crates that only some of ours may name: the walls of the architecture.
pub const DEPENDENCY_OWNERS: &[(&[&str], &[&str])] = &[
    (
        &["sori-infer", "sori-kernels"],
        &[
            "rten",
            "rten-gemm",
            "rten-tensor",
            "rten-simd",
            "ort",
            "tract-onnx",
        ],
    ),
    (
        &["sori-media"],
        &["symphonia", "rusty-opus", "opus", "mp4", "matroska"],
    ),
    (
        &["sori", "sori-server", "sori-store"],
        &["tokio", "async-std", "smol", "hyper", "reqwest", "axum"],
    ),
    (&["sori"], &["anyhow", "clap", "indicatif", "ctrlc"]),
];

/// Lines a source file may have without its tests.
pub const MAX_FILE_LINES: usize = 500;
/// Lines a function may have.
pub const MAX_FUNCTION_LINES: usize = 80;

/// Source files that are longer, each with its reason.
pub const LONG_FILES: &[(&str, &str)] = &[];
/// Functions that are longer (`crate/src/file.rs:name`), each with its reason.
pub const LONG_FUNCTIONS: &[(&str, &str)] = &[];
