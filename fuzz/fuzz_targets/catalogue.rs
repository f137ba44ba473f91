//! Any text as a catalogue: it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sori_infer::catalogue::Catalogue;

fuzz_target!(|text: &str| {
    let _ = Catalogue::parse(text);
});
