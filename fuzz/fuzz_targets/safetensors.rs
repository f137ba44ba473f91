//! Any bytes as a safetensors file: it opens or is refused, and the same for each tensor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sori_infer::weights::SafetensorsSet;

fuzz_target!(|data: &[u8]| {
    sori_fuzz::in_folder("model.safetensors", data, |folder| {
        if let Ok(set) = SafetensorsSet::open(folder) {
            let _ = set.tensor("model.encoder.conv1.weight");
        }
    });
});
