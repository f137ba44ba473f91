//! Any bytes as a sound file: decoding ends, and gives blocks or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sori_media::{AudioOptions, AudioReader};

fuzz_target!(|data: &[u8]| {
    let sound = std::io::Cursor::new(data.to_vec());
    if let Ok(mut reader) = AudioReader::from_source(sound, "fuzz", &AudioOptions::default()) {
        while let Ok(Some(_)) = reader.next_block() {}
    }
});
