//! Any bytes as an array of a NumPy archive: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sori_infer::weights::Tensors;
use std::io::{Cursor, Write};

fuzz_target!(|data: &[u8]| {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file("w.npy", zip::write::SimpleFileOptions::default())
        .expect("a plain name");
    writer.write_all(data).expect("memory is writable");
    let zipped = writer.finish().expect("memory is writable").into_inner();
    sori_fuzz::in_folder("arrays.npz", &zipped, |folder| {
        let _ = Tensors::open_f64(&folder.join("arrays.npz"));
    });
});
