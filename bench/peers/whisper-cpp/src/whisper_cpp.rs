//! `whisper-cpp FOLDER FORMAT plain|flash THREADS WINDOWS`: measures whisper.cpp on `FOLDER/FORMAT.bin`, with its plain or
//! its flash attention, and prints one JSON line.
//!
//! The calls are whisper.cpp's own C functions, re-exported by `whisper-rs`, whose safe `set_mel` takes 80 bands for granted
//! (turbo has 128).

use std::error::Error;
use std::ffi::{CString, c_int};
use std::fs;
use std::time::Instant;

use whisper_rs::whisper_rs_sys as sys;

/// Tokens of a window in the end-to-end run.
const TOKENS: c_int = 100;
/// Times a part is run in one process; the fastest counts.
const PASSES: usize = 3;

/// Never freed: the process ends with it.
struct Model {
    context: *mut sys::whisper_context,
    threads: c_int,
}

impl Model {
    fn open(path: &str, flash: bool, threads: c_int) -> Result<Self, Box<dyn Error>> {
        let path = CString::new(path)?;
        // SAFETY: the path ends in a zero byte; the parameters are the library's own.
        let context = unsafe {
            let mut parameters = sys::whisper_context_default_params();
            parameters.use_gpu = false;
            parameters.flash_attn = flash;
            sys::whisper_init_from_file_with_params(path.as_ptr(), parameters)
        };
        if context.is_null() {
            return Err("whisper.cpp cannot load the file".into());
        }
        Ok(Self { context, threads })
    }

    fn hear(&self, mel: &[f32]) -> Result<(), Box<dyn Error>> {
        // SAFETY: the context is alive; the library copies `bands` × 3000 values, as many as the slice has.
        let code = unsafe {
            let bands = sys::whisper_model_n_mels(self.context);
            if mel.len() != bands as usize * 3000 {
                return Err("mel.f32 is of another size".into());
            }
            sys::whisper_set_mel(self.context, mel.as_ptr(), 3000, bands)
        };
        done(code, "whisper_set_mel")
    }

    /// Encoder and cross K/V of the window.
    fn encode(&self) -> Result<(), Box<dyn Error>> {
        // SAFETY: the context is alive.
        done(
            unsafe { sys::whisper_encode(self.context, 0, self.threads) },
            "whisper_encode",
        )
    }

    /// [`TOKENS`] or slightly fewer forced tokens from an empty cache, `rows` at a time in one sequence; ms per token.
    fn decode(&self, rows: c_int) -> Result<f64, Box<dyn Error>> {
        let steps = TOKENS / rows;
        let started = Instant::now();
        for past in (0..steps).map(|step| step * rows) {
            let tokens: Vec<c_int> = (0..rows).map(|i| 1000 + past + i).collect();
            // SAFETY: the context is alive, `rows` tokens are given, and 100 fit the 448 places of the cache.
            let code = unsafe {
                sys::whisper_decode(self.context, tokens.as_ptr(), rows, past, self.threads)
            };
            done(code, "whisper_decode")?;
        }
        Ok(started.elapsed().as_secs_f64() * 1e3 / f64::from(steps * rows))
    }
}

fn done(code: c_int, call: &str) -> Result<(), Box<dyn Error>> {
    match code {
        0 => Ok(()),
        _ => Err(format!("{call} failed with {code}").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, format, attention, threads, windows] = arguments.as_slice() else {
        return Err("usage: whisper-cpp FOLDER FORMAT plain|flash THREADS WINDOWS".into());
    };
    let (threads, windows): (c_int, u32) = (threads.parse()?, windows.parse()?);
    let bytes = fs::read(format!("{folder}/mel.f32"))?;
    let (values, _) = bytes.as_chunks::<4>();
    let mel: Vec<f32> = values.iter().map(|v| f32::from_le_bytes(*v)).collect();

    let started = Instant::now();
    let model = Model::open(
        &format!("{folder}/{format}.bin"),
        attention == "flash",
        threads,
    )?;
    let load = started.elapsed().as_secs_f64() * 1e3;
    model.hear(&mel)?;
    model.encode()?;
    let mut encode = f64::INFINITY;
    for _ in 0..PASSES {
        let started = Instant::now();
        model.encode()?;
        encode = encode.min(started.elapsed().as_secs_f64() * 1e3);
    }
    let mut best = [f64::INFINITY; 3];
    let mut mean = 0.0;
    for _ in 0..PASSES {
        for (place, rows) in [1, 8, 16].into_iter().enumerate() {
            let ms = model.decode(rows)?;
            best[place] = best[place].min(ms);
            mean += if rows == 1 { ms / PASSES as f64 } else { 0.0 };
        }
    }
    let started = Instant::now();
    for _ in 0..windows {
        model.hear(&mel)?;
        model.encode()?;
        model.decode(1)?;
    }
    let seconds = started.elapsed().as_secs_f64() * 20.0 / f64::from(windows);
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = peak
        .and_then(|p| p.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or("no VmHWM")?;
    println!(
        "{{\"version\": \"{}\", \"system\": {:?}, \"load_ms\": {load:.1}, \"encode_ms\": {encode:.2}, \
         \"decode_ms\": {{\"1\": {:.3}, \"8\": {:.3}, \"16\": {:.3}}}, \"decode_mean_ms\": {mean:.3}, \
         \"seconds_10min\": {seconds:.3}, \"peak_mb\": {:.0}}}",
        whisper_rs::WHISPER_CPP_VERSION,
        whisper_rs::print_system_info().trim(),
        best[0],
        best[1],
        best[2],
        kib / 1024.0,
    );
    Ok(())
}
