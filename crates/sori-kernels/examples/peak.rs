//! The speed of each kernel beside the fastest rate at which the CPU can multiply: `cargo run --release -p sori-kernels --example peak [threads]`.

use sori_kernels::*;
use std::time::Instant;

fn best(runs: usize, mut work: impl FnMut()) -> f64 {
    (0..runs)
        .map(|_| {
            let t = Instant::now();
            work();
            t.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let threads: usize = std::env::args()
        .nth(1)
        .map_or(2, |t| t.parse().expect("a number"));
    let team = Team::new(threads);
    for isa in Isa::available() {
        println!("{isa:?}, {threads} threads");
        let small = Int8Matrix::pack(&vec![0.5; 256 * 64], 256, None);
        for (m, k, n) in [
            (1500, 384, 384),
            (1500, 384, 1536),
            (1500, 1536, 384),
            (1500, 768, 768),
            (1500, 768, 3072),
            (1500, 3072, 768),
            (1500, 1280, 5120),
            (1, 384, 1536),
            (1, 768, 3072),
            (8, 768, 3072),
            (16, 768, 3072),
            (1, 384, 51865),
            (16, 768, 51865),
        ] {
            if isa.name() == "portable" && m > 100 {
                continue;
            }
            let w = Int8Matrix::pack(&vec![0.5; k * n], k, None);
            let x = vec![0.3; m * k];
            let mut a = QuantRows::default();
            a.quantise(isa, &x, k);
            let mut out = vec![0.0; m * n];
            let runs = (4e9 / (m * k * n) as f64).clamp(5.0, 50.0) as usize;
            let t = if m < 64 {
                best(runs, || {
                    w.multiply_by(&team, isa, &a, Then::Store, &mut out)
                })
            } else {
                let mut blocks: Vec<_> = x
                    .chunks(192 * k)
                    .zip(out.chunks_mut(192 * n))
                    .map(|(x, o)| {
                        let mut a = QuantRows::default();
                        a.quantise(isa, x, k);
                        (a, o)
                    })
                    .collect();
                best(runs, || {
                    team.each(&mut blocks, |(a, o), _| w.multiply(isa, a, Then::Store, o))
                })
            };
            println!(
                "  int8 {m}x{k}x{n}: {:.0} GOP/s, weights at {:.1} GB/s",
                2e-9 * (m * k * n) as f64 / t,
                (k * n) as f64 / t * 1e-9
            );
        }
        let x = vec![0.3; 6 * 256];
        let mut a = QuantRows::default();
        a.quantise(isa, &x, 256);
        let mut out = vec![0.0; 6 * 64];
        let t = best(20, || {
            for _ in 0..1000 {
                small.multiply(isa, &a, Then::Store, &mut out)
            }
        });
        println!(
            "  int8 peak-ish 1T: {:.0}",
            2e-9 * 1000.0 * (6 * 64 * 256) as f64 / t
        );
        for (heads, each) in [(6, 64), (12, 64), (20, 64)] {
            if isa.name() == "portable" {
                continue;
            }
            let width = heads * each;
            let qkv: Vec<f32> = (0..1500 * 3 * width)
                .map(|i| (i as f32 * 0.37).sin())
                .collect();
            let mut tiles = KvTiles::new(1500, heads, each);
            for (mut tile, rows) in tiles.tiles_mut().zip(qkv.chunks(64 * 3 * width)) {
                tile.store(isa, rows, &mut Vec::new());
            }
            let mut q = vec![0; 1500 * width];
            to_bf16(isa, &qkv[..1500 * width], 0.18, &mut q);
            let mut out = vec![0.0; 1500 * width];
            let mut blocks: Vec<_> = q
                .chunks(192 * width)
                .zip(out.chunks_mut(192 * width))
                .map(|(q, o)| (q, o, AttendScratch::default()))
                .collect();
            let t = best(10, || {
                team.each(&mut blocks, |(q, o, s), _| tiles.attend(isa, q, o, s))
            });
            println!(
                "  attention {heads}x{each}: {:.0} GFLOP/s, {:.2} ms",
                4e-9 * 1500f64 * 1500.0 * width as f64 / t,
                t * 1e3
            );
        }
    }
}
