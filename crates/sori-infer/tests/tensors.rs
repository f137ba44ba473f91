//! Weights in memory: what each format holds, and that no file, however damaged, does more than be refused.
//!
//! The goldens are made by `reference/weight_files.py`: element `i` of every array is `i / 4 + 1`.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sori_infer::weights::{Node, OnnxGraph, Tensors};
use sori_infer::{InferError, InferErrorKind};
use tempfile::TempDir;
use zip::CompressionMethod::{Deflated, Stored};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use InferErrorKind::{Damaged, Foreign, Io, Missing, Shape, Unsupported};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn ramp(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32 / 4.0 + 1.0).collect()
}

/// Writes bytes to a file and opens it.
fn open(bytes: &[u8]) -> Result<Tensors, InferError> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("weights");
    fs::write(&path, bytes).expect("the folder is writable");
    Tensors::open(&path)
}

#[track_caller]
fn refused<T>(result: Result<T, InferError>, kind: InferErrorKind, says: &str) {
    let error = result.err().expect("refused");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(says), "{text:?} does not say {says:?}");
}

#[test]
fn checkpoints_give_the_network_and_nothing_else() {
    for name in ["checkpoint.ckpt", "legacy.pt"] {
        let tensors = Tensors::open(&golden(name)).expect("a whole checkpoint");
        assert_eq!(tensors.path(), golden(name));
        let names = [
            "brain",
            "double",
            "empty",
            "half",
            "head",
            "parameter",
            "plain",
            "scalar",
            "tail",
            "transposed",
        ];
        assert!(tensors.names().eq(names), "{name}: {:?}", tensors);
        for (tensor, shape, values) in [
            ("plain", &[2, 3][..], ramp(6)),
            ("scalar", &[], ramp(1)),
            ("empty", &[0, 3], vec![]),
            ("half", &[4], ramp(4)),
            ("brain", &[4], ramp(4)),
            ("double", &[4], ramp(4)),
            ("parameter", &[3], ramp(3)),
            ("head", &[4], ramp(4)),
            ("tail", &[2, 4], ramp(12)[4..].to_vec()),
            ("transposed", &[2, 3], vec![1.0, 1.5, 2.0, 1.25, 1.75, 2.25]),
        ] {
            let found = tensors.get(tensor, shape);
            assert_eq!(found.expect(tensor), values, "{name} {tensor}");
        }
        assert_eq!(tensors.shape("plain"), Some(&[2, 3][..]));
        assert!(tensors.contains("plain") && !tensors.contains("exp_avg"));
        refused(tensors.get("steps", &[]), Missing, "no tensor named steps");
        refused(
            tensors.get("plain", &[3, 2]),
            Shape,
            "shape [2, 3] instead of [3, 2]",
        );
    }
}

#[test]
fn archives_of_numpy_keep_their_precision() {
    for name in ["arrays.npz", "compressed.npz"] {
        let wide = Tensors::open_f64(&golden(name)).expect("a whole archive");
        assert!(
            wide.names().eq(["columns", "f2", "f4", "f8", "fine", "i8"]),
            "{name}: {wide:?}"
        );
        assert_eq!(wide.get("fine", &[]).expect("there"), [1.0 / 3.0]);
        assert_eq!(wide.get("i8", &[2]).expect("there"), [2f64.powi(40), -1.0]);
        let narrow = Tensors::open(&golden(name)).expect("a whole archive");
        for (array, shape) in [
            ("f2", &[6][..]),
            ("f4", &[2, 3]),
            ("f8", &[2, 3]),
            ("columns", &[2, 3]),
        ] {
            assert_eq!(narrow.get(array, shape).expect(array), ramp(6), "{name}");
        }
    }
    refused(
        Tensors::open_f64(&golden("checkpoint.ckpt")),
        Foreign,
        "not a NumPy archive",
    );
    refused(
        Tensors::open_f64(&golden("legacy.pt")),
        Foreign,
        "not a NumPy archive",
    );
}

fn safetensors() -> Vec<u8> {
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
        "n":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(ramp(2).iter().flat_map(|v| v.to_le_bytes()));
    bytes.extend([0; 8]);
    bytes
}

#[test]
fn folders_and_single_safetensors_are_opened() {
    let alone = open(&safetensors()).expect("a whole file");
    assert!(alone.names().eq(["w"]));
    assert_eq!(alone.get("w", &[2]).expect("there"), ramp(2));
    let folder = TempDir::new().expect("a temporary folder");
    refused(Tensors::open(folder.path()), Missing, "neither");
    let checkpoint = folder.path().join("pytorch_model.bin");
    fs::copy(golden("checkpoint.ckpt"), checkpoint).expect("copied");
    let torch = Tensors::open(folder.path()).expect("a whole folder");
    assert!(torch.contains("plain") && torch.path() == folder.path());
    fs::write(folder.path().join("model.safetensors"), safetensors()).expect("written");
    let both = Tensors::open(folder.path()).expect("a whole folder");
    assert!(both.contains("w") && !both.contains("plain"));
    refused(
        Tensors::open(&folder.path().join("none")),
        Io,
        "no such file",
    );
}

/// A field of a protobuf message that holds bytes.
fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let length = content.len();
    assert!(length < 1 << 14);
    let mut bytes = vec![number << 3 | 2, length as u8 | 0x80, (length >> 7) as u8];
    bytes.extend(content);
    bytes
}

/// A field that holds a small number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn tensor(name: &str, dims: &[u8], kind: u8, values: Vec<u8>) -> Vec<u8> {
    let dims = dims.iter().flat_map(|&dim| number(1, dim));
    let mut bytes: Vec<u8> = dims.collect();
    bytes.extend(number(2, kind));
    bytes.extend(field(8, name));
    bytes.extend(values);
    bytes
}

fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|name| field(1, name));
    let mut bytes: Vec<u8> = inputs.collect();
    bytes.extend(outputs.iter().flat_map(|name| field(2, name)));
    bytes.extend(field(3, format!("/{op}")));
    bytes.extend(field(4, op));
    bytes.extend(attributes.iter().flat_map(|attribute| field(5, attribute)));
    bytes
}

fn raw(values: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes
}

/// A network with an `LSTM` inside a branch, and a tensor stored in every way there is.
fn onnx() -> Vec<u8> {
    let lstm = node(
        "LSTM",
        &["x", "W", "", "B"],
        &["y"],
        &[[field(1, "hidden_size"), number(3, 64)].concat()],
    );
    let branch = [
        field(1, lstm),
        field(5, tensor("W", &[2], 1, field(9, raw(&ramp(2))))),
    ]
    .concat();
    let constant = tensor("", &[], 1, field(9, raw(&[0.5])));
    let halves = [0x3c00u16, 0x3d00].map(|b| [b as u8 | 0x80, (b >> 7) as u8 | 0x80, 0]);
    let halves: Vec<u8> = halves.concat();
    let floats = [1f32, 1.25]
        .iter()
        .flat_map(|v| [vec![4 << 3 | 5], v.to_le_bytes().to_vec()].concat());
    let doubles: Vec<u8> = [1f64, 1.25].iter().flat_map(|v| v.to_le_bytes()).collect();
    let graph = [
        field(1, node("Constant", &[], &["half"], &[field(5, constant)])),
        field(1, node("If", &["half"], &["y"], &[field(6, branch)])),
        field(1, node("MatMul", &["y", "packed"], &["z"], &[])),
        field(5, tensor("packed", &[1, 2], 1, field(4, raw(&ramp(2))))),
        field(5, tensor("loose", &[2], 1, floats.collect())),
        field(5, tensor("f16", &[2], 10, field(5, halves))),
        field(5, tensor("f16raw", &[2], 10, field(9, [0, 0x3c, 0, 0x3d]))),
        field(
            5,
            tensor("bf16", &[2], 16, field(9, [0x80, 0x3f, 0xa0, 0x3f])),
        ),
        field(5, tensor("f64", &[2], 11, field(10, doubles))),
        field(5, tensor("shape", &[1], 7, field(9, [0; 8]))),
    ];
    [number(1, 8), field(7, graph.concat())].concat()
}

#[test]
fn onnx_gives_tensors_and_the_order_of_nodes() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("network.onnx");
    fs::write(&path, onnx()).expect("written");
    let graph = OnnxGraph::open(&path).expect("a whole network");
    let operators: Vec<&str> = graph.nodes.iter().map(|n| n.op_type.as_str()).collect();
    assert_eq!(operators, ["Constant", "If", "LSTM", "MatMul"]);
    let lstm = Node {
        op_type: "LSTM".into(),
        name: "/LSTM".into(),
        inputs: ["x", "W", "", "B"].map(String::from).to_vec(),
        outputs: vec!["y".into()],
        ints: [("hidden_size".to_owned(), 64)].into(),
    };
    assert_eq!(graph.nodes[2], lstm);
    let tensors = Tensors::open(&path).expect("a whole network");
    assert_eq!(tensors, graph.initializers);
    assert!(tensors.names().eq([
        "W", "bf16", "f16", "f16raw", "f64", "half", "loose", "packed"
    ]));
    for name in ["W", "bf16", "f16", "f16raw", "f64", "loose"] {
        assert_eq!(tensors.get(name, &[2]).expect(name), ramp(2), "{name}");
    }
    assert_eq!(tensors.get("packed", &[1, 2]).expect("there"), ramp(2));
    assert_eq!(tensors.get("half", &[]).expect("there"), [0.5]);
}

#[test]
fn onnx_that_lies_is_refused() {
    let model = |tensor: Vec<u8>| {
        let graph = [field(1, node("Add", &[], &[], &[])), field(5, tensor)];
        [number(1, 8), field(7, graph.concat())].concat()
    };
    let values = field(9, raw(&ramp(2)));
    let external = [number(14, 1), field(13, field(1, "location"))].concat();
    let huge = [vec![8], vec![0xff; 8], vec![0x7f], number(2, 1)].concat();
    for (bytes, kind, says) in [
        (
            model(tensor("w", &[3], 1, values.clone())),
            Damaged,
            "tensor w of shape [3] has 2 values",
        ),
        (model(tensor("w", &[2], 1, vec![])), Damaged, "has 0 values"),
        (
            model([huge.clone(), huge].concat()),
            Damaged,
            "has 0 values",
        ),
        (
            model(tensor("w", &[2], 1, external)),
            Unsupported,
            "tensor w lies in another file",
        ),
        (number(1, 8), Foreign, "no network in it"),
        (
            [number(1, 8), vec![7 << 3 | 2, 9]].concat(),
            Damaged,
            "damaged at byte 2",
        ),
    ] {
        refused(open(&bytes), kind, says);
    }
}

fn zipped(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(*name, options).expect("started");
        writer.write_all(content).expect("written");
    }
    writer.finish().expect("finished").into_inner()
}

/// A checkpoint `{"w": tensor}` of a storage with two numbers, with these arguments of `_rebuild_tensor_v2` behind the
/// storage: offset, sizes and strides as opcodes.
fn checkpoint(view: &[u8]) -> Vec<u8> {
    let start = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n\
                  X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ";
    let end = b"\x89ccollections\nOrderedDict\n)RtRs.";
    pickled(&[start, view, end].concat())
}

fn pickled(pickle: &[u8]) -> Vec<u8> {
    let storage = raw(&ramp(2));
    zipped(&[("a/data.pkl", pickle), ("a/data/0", &storage)], Stored)
}

#[test]
fn views_must_fit_their_storages() {
    let whole = open(&checkpoint(b"K\x00K\x02\x85K\x01\x85")).expect("a whole checkpoint");
    assert_eq!(whole.get("w", &[2]).expect("there"), ramp(2));
    let back = open(&checkpoint(b"K\x01K\x02\x85K\x00\x85")).expect("one number twice");
    assert_eq!(back.get("w", &[2]).expect("there"), [1.25; 2]);
    for (view, says) in [
        (&b"K\x01K\x02\x85K\x01\x85"[..], "w does not fit"),
        (b"K\x00K\x03\x85K\x01\x85", "w does not fit"),
        (b"K\x00K\x02\x85K\x02\x85", "w does not fit"),
        (b"J\xff\xff\xff\x7fK\x02\x85K\x01\x85", "w does not fit"),
        (
            b"K\x00K\x02\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85",
            "w does not fit",
        ),
        (
            b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x02\x85K\x01\x85",
            "w does not fit",
        ),
        (
            b"K\x00J\xff\xff\xff\x7f\x85K\x00\x85",
            "larger than its file",
        ),
        (
            b"K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86K\x00K\x00\x86",
            "larger than its file",
        ),
        (
            b"K\x00J\x00\x00\x00\x08\x85K\x00\x85",
            "larger than its file",
        ),
        (b"J\xff\xff\xff\xffK\x02\x85K\x01\x85", "cannot be read"),
        (b"K\x00J\xff\xff\xff\xff\x85K\x01\x85", "cannot be read"),
        (b"K\x00K\x02\x85)", "cannot be read"),
    ] {
        refused(open(&checkpoint(view)), Damaged, says);
    }
}

#[test]
fn hostile_pickles_are_refused_and_never_run() {
    let nested = [&b"\x80\x02)"[..], &vec![0x85; 1 << 20], b"."].concat();
    let endless = [&b"\x80\x02"[..], &b"}0".repeat(2 << 20)].concat();
    for (pickle, kind, says) in [
        (&b""[..], Damaged, "at byte 0"),
        (b"\x80\x02", Damaged, "at byte 2"),
        (b"\x80\x02.", Damaged, "at byte 2"),
        (b"\x80\x02\xff.", Damaged, "at byte 2"),
        (b"\x80\x02h\x07.", Damaged, "at byte 2"),
        (b"\x80\x02t.", Damaged, "at byte 2"),
        (b"\x80\x02K\x01R.", Damaged, "at byte 4"),
        (b"\x80\x02X\xff\xff\xff\xffabc.", Damaged, "at byte 2"),
        (
            b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
            Damaged,
            "at byte 2",
        ),
        (b"\x80\x02cos", Damaged, "at byte 2"),
        (
            b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch /xy\x85R.",
            Missing,
            "no weights in it",
        ),
        // A dictionary in itself, and a list.
        (b"\x80\x02}q\x00K\x01h\x00s.", Missing, "no weights in it"),
        (b"\x80\x02]q\x00h\x00a.", Missing, "no weights in it"),
        (&nested, Missing, "no weights in it"),
        (&endless, Damaged, "cannot be read"),
    ] {
        refused(open(&pickled(pickle)), kind, says);
    }
    assert!(!Path::new("/xy").exists());
}

#[test]
fn other_files_are_refused() {
    let checkpoint = checkpoint(b"K\x00K\x02\x85K\x01\x85");
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    let npz = |header: &str, data: &[u8], method| {
        let mut array = b"\x93NUMPY\x01\x00".to_vec();
        array.extend((header.len() as u16).to_le_bytes());
        array.extend(header.as_bytes());
        array.extend(data);
        zipped(&[("w.npy", &array)], method)
    };
    assert!(open(&npz(good, &raw(&ramp(2)), Stored)).is_ok());
    // Compresses a thousandfold: 128 MB of zeros in a file of 130 kB.
    let bomb = npz(
        &good.replace("2,", "33554432,"),
        &vec![0; 128 << 20],
        Deflated,
    );
    for (bytes, kind, says) in [
        (vec![], Foreign, "no weights that are known"),
        (b"text".to_vec(), Foreign, "no weights that are known"),
        (b"lmgg0000".to_vec(), Foreign, "a GGML file"),
        (zipped(&[("a/b", b"c")], Stored), Foreign, "a zip, but"),
        (zipped(&[("a", b"")], Stored), Foreign, "a zip, but"),
        (
            checkpoint[..checkpoint.len() - 4].to_vec(),
            Damaged,
            "the archive",
        ),
        (
            zipped(&[("a/data.pkl", b"")], Deflated),
            Unsupported,
            "compressed",
        ),
        (
            zipped(&[("a/byteorder", b"big"), ("a/data.pkl", b"")], Stored),
            Unsupported,
            "big-endian",
        ),
        (npz(good, &[0; 7], Stored), Damaged, "the array w"),
        (npz(good, &[0; 9], Stored), Damaged, "the array w"),
        (npz("{}", &[0; 8], Stored), Damaged, "the array w"),
        (
            npz(&good.replace("2,", "99999999999,"), &[0; 8], Stored),
            Damaged,
            "larger than its file",
        ),
        (
            npz(&good.replace("2,", "-2,"), &[0; 8], Stored),
            Damaged,
            "the array w",
        ),
        (bomb, Damaged, "larger than its file"),
    ] {
        refused(open(&bytes), kind, says);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn random_damage_never_panics(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let files = ["checkpoint.ckpt", "legacy.pt", "arrays.npz", "compressed.npz"]
            .map(|name| fs::read(golden(name)).expect("committed"));
        for mut bytes in files.into_iter().chain([onnx(), safetensors()]) {
            for (index, value) in &hits {
                let at = index.index(bytes.len());
                bytes[at] = *value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Err(error) = open(&bytes) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
