//! `weights SIZE FOLDER [q8_0|f16]...`: the same seeded network for every peer, and the mel window all of them hear.
//!
//! Writes `hf/` (Hugging Face, f32), one `FORMAT.bin` (GGML) per format named, and `mel.f32` (bands × 3000, row-major).

use std::error::Error;
use std::fs;
use std::path::Path;

use sori_testing::ggml::{self, Format};
use sori_testing::rule_weights::{Size, multilingual, tensor, whisper_dims, write_hf_folder};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [size, folder, formats @ ..] = arguments.as_slice() else {
        return Err("usage: weights SIZE FOLDER [q8_0|f16]...".into());
    };
    let dims = whisper_dims(match size.as_str() {
        "tiny" => Size::Tiny,
        "base" => Size::Base,
        "small" => Size::Small,
        "turbo" => Size::Turbo,
        other => return Err(format!("no size {other}: tiny, base, small or turbo").into()),
    });
    let (folder, vocabulary) = (Path::new(folder), multilingual());
    write_hf_folder(&dims, &vocabulary, &folder.join("hf"))?;
    for name in formats {
        let format = match name.as_str() {
            "q8_0" => Format::Q8_0,
            "f16" => Format::F16,
            other => return Err(format!("no format {other}: q8_0 or f16").into()),
        };
        ggml::write(
            &dims,
            &vocabulary,
            format,
            &folder.join(format!("{name}.bin")),
        )?;
    }
    // Any name gives numbers; this one's scale spreads them over -1..1, as log-mel values are.
    let mel = tensor("mel.conv.weight", &[dims.mels, 3, 1000]);
    let top = mel.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let bytes: Vec<u8> = mel.iter().flat_map(|v| (v / top).to_le_bytes()).collect();
    Ok(fs::write(folder.join("mel.f32"), bytes)?)
}
