//! Any bytes as a GGML file: it opens or is refused, and the same for each tensor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sori_infer::weights::GgmlFile;

fuzz_target!(|data: &[u8]| {
    sori_fuzz::in_folder("ggml.bin", data, |folder| {
        if let Ok(file) = GgmlFile::open(&folder.join("ggml.bin")) {
            let _ = file.tensor("encoder.conv1.weight");
        }
    });
});
