//! Any bytes as the pickle of a PyTorch checkpoint, and as a checkpoint of before PyTorch 1.6: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sori_infer::weights::Tensors;
use std::io::{Cursor, Write};

fuzz_target!(|data: &[u8]| {
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("a/data.pkl", data), ("a/data/0", &[0; 64][..])] {
        writer.start_file(name, options).expect("a plain name");
        writer.write_all(content).expect("memory is writable");
    }
    let zipped = writer.finish().expect("memory is writable").into_inner();
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    for bytes in [zipped, [&magic[..], data].concat()] {
        sori_fuzz::in_folder("network.pt", &bytes, |folder| {
            let _ = Tensors::open(&folder.join("network.pt"));
        });
    }
});
