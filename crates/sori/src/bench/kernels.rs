//! `sori bench kernels`: each kernel beside the fastest rate at which the CPU can multiply.

use anyhow::{Result, bail};
use clap::Args;
use sori_infer::kernels::{
    AttendScratch, Bits, CacheShape, Isa, KvCache, KvTiles, Looking, QuantMatrix, QuantRows, Team,
    Then, attend_cached, multiply_bf16, multiply_int8, to_bf16,
};

use super::best;

/// Frames of a window.
const FRAMES: usize = 1500;
/// Rows that one thread works on at a time, as in the encoder.
const BLOCK: usize = 192;

/// The arguments of `sori bench kernels`.
#[derive(Args)]
pub(super) struct KernelArguments {
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Times each kernel is run; the fastest counts
    #[arg(long, default_value_t = 10)]
    runs: usize,
}

/// Measures every instruction set of this machine but the portable one, which is slow and needs no bench.
pub(super) fn run(arguments: &KernelArguments) -> Result<()> {
    let (threads, runs) = (arguments.threads, arguments.runs);
    if threads == 0 || runs == 0 {
        bail!("--runs and --threads: give a number above 0");
    }
    let team = Team::new(threads);
    println!("| instructions | kernel | shape | rate | of the peak |");
    println!("|---|---|---|---|---|");
    for isa in Isa::available().filter(|isa| isa.name() != "portable") {
        let peaks = [multiply_int8, multiply_bf16].map(|multiply| {
            let rounds = 1_000_000;
            let seconds = best(runs, || team.run(threads, |_, _| _ = multiply(isa, rounds)));
            2e-9 * (multiply(isa, 1) * rounds * threads) as f64 / seconds
        });
        let row = |kernel: &str, shape: String, rate: f64, peak: f64| {
            let share = 100.0 * rate / peak;
            println!(
                "| {} | {kernel} | {shape} | {rate:.0} G/s | {share:.0} % of {peak:.0} |",
                isa.name()
            );
        };
        for [k, n] in [
            [384, 384],
            [384, 1536],
            [1536, 384],
            [768, 3072],
            [3072, 768],
            [1280, 5120],
        ] {
            let seconds = integers(&team, isa, Bits::Eight, [FRAMES, k, n], runs);
            row(
                "int8 product",
                format!("{FRAMES}×{k}×{n}"),
                2e-9 * (FRAMES * k * n) as f64 / seconds,
                peaks[0],
            );
        }
        for [m, k, n] in [
            [1, 768, 3072],
            [8, 768, 3072],
            [16, 768, 3072],
            [1, 384, 51865],
            [16, 384, 51865],
        ] {
            for (bits, kernel) in [
                (Bits::Eight, "int8 product by columns"),
                (Bits::Four, "int4 product by columns"),
            ] {
                let seconds = integers(&team, isa, bits, [m, k, n], 4 * runs);
                let rate = 2e-9 * (m * k * n) as f64 / seconds;
                row(kernel, format!("{m}×{k}×{n}"), rate, peaks[0]);
            }
        }
        for heads in [6, 12, 20] {
            let seconds = attention(&team, isa, heads, runs);
            let work = 4e-9 * (FRAMES * FRAMES * heads * 64) as f64;
            row(
                "bf16 attention",
                format!("{FRAMES} frames, {heads} heads"),
                work / seconds,
                peaks[1],
            );
        }
        let seconds = cached(&team, isa, runs);
        let bytes = 16.0 * 12.0 * FRAMES as f64 * 140.0 * 1e-9;
        println!(
            "| {} | int8 attention of one token | 16 windows, 12 heads | {:.1} GB/s | bound by memory |",
            isa.name(),
            bytes / seconds
        );
    }
    Ok(())
}

fn integers(team: &Team, isa: Isa, bits: Bits, [m, k, n]: [usize; 3], runs: usize) -> f64 {
    let weights = QuantMatrix::pack(&vec![0.5; k * n], k, None, bits);
    let (x, mut out) = (vec![0.3; m * k], vec![0.0; m * n]);
    let quantised = |x: &[f32]| {
        let mut rows = QuantRows::default();
        rows.quantise(isa, x, k);
        rows
    };
    if m < BLOCK {
        let rows = quantised(&x);
        return best(runs, || {
            weights.multiply_by(team, isa, &rows, Then::Store, &mut out)
        });
    }
    let blocks = x
        .chunks(BLOCK * k)
        .map(quantised)
        .zip(out.chunks_mut(BLOCK * n));
    let mut blocks: Vec<_> = blocks.collect();
    best(runs, || {
        team.each(&mut blocks, |(rows, out), _| {
            weights.multiply(isa, rows, Then::Store, out)
        });
    })
}

fn attention(team: &Team, isa: Isa, heads: usize, runs: usize) -> f64 {
    let width = heads * 64;
    let qkv: Vec<f32> = (0..FRAMES * 3 * width)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let mut tiles = KvTiles::new(FRAMES, heads, 64);
    for (mut tile, rows) in tiles.tiles_mut().zip(qkv.chunks(64 * 3 * width)) {
        tile.store(isa, rows, &mut Vec::new());
    }
    let (mut q, mut out) = (vec![0; FRAMES * width], vec![0.0; FRAMES * width]);
    to_bf16(isa, &qkv[..FRAMES * width], 0.18, &mut q);
    let blocks = q.chunks(BLOCK * width).zip(out.chunks_mut(BLOCK * width));
    let mut blocks: Vec<_> = blocks
        .map(|(q, out)| (q, out, AttendScratch::default()))
        .collect();
    best(runs, || {
        team.each(&mut blocks, |(q, out, scratch), _| {
            tiles.attend(isa, q, out, scratch)
        });
    })
}

fn cached(team: &Team, isa: Isa, runs: usize) -> f64 {
    let shape = CacheShape {
        layers: 1,
        heads: 12,
        each: 64,
    };
    let kv: Vec<f32> = (0..2 * 768).map(|i| (i as f32).sin()).collect();
    let windows: Vec<KvCache> = (0..16)
        .map(|_| {
            let mut cache = KvCache::new(shape);
            (0..FRAMES).for_each(|ahead| cache.store(isa, 0, ahead, &kv));
            cache.advance(FRAMES);
            cache
        })
        .collect();
    let groups: Vec<_> = windows
        .iter()
        .map(|cache| Looking {
            cache,
            rows: 1,
            first_sees: FRAMES,
            more: 0,
        })
        .collect();
    let (q, mut out) = (vec![0.1; 16 * 768], vec![0.0; 16 * 768]);
    best(runs, || attend_cached(team, isa, 0, &groups, &q, &mut out))
}
