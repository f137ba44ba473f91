//! Any bytes as the tensors and nodes of an ONNX file: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sori_infer::weights::OnnxGraph;

fuzz_target!(|data: &[u8]| {
    sori_fuzz::in_folder("network.onnx", data, |folder| {
        let _ = OnnxGraph::open(&folder.join("network.onnx"));
    });
});
