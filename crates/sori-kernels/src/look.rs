//! Attention of the decoder: a few rows to keys and values that are kept as 8-bit integers, one pass over each head's records
//! with a running softmax (Milakov and Gimelshein 2018).

use crate::arch::Arch;
use crate::attention::write;
use crate::body::{PANEL, exp2, int8_sums, kernel, with_rows};
use crate::buffer::LINE;
use crate::cache::{KvCache, MOST};
use crate::isa::Isa;
use crate::rows::LEAST;
use crate::team::{Shared, Team};

/// Some rows of queries that look at one cache.
#[derive(Clone, Copy)]
pub struct Looking<'a> {
    /// What they look at.
    pub cache: &'a KvCache,
    /// How many rows.
    pub rows: usize,
    /// Positions that the first row sees.
    pub first_sees: usize,
    /// Positions that every next row sees more than the one before it: 0, or 1 for text after which the next token comes.
    pub more: usize,
}

/// Attends in one layer; `q` and `out` are the rows of all groups, one after the other, `heads · each` columns each.
/// Groups and heads are shared among the team.
///
/// # Panics
/// When the rows do not fit, or a row sees what is not stored.
pub fn attend_cached(
    team: &Team,
    isa: Isa,
    layer: usize,
    groups: &[Looking],
    q: &[f32],
    out: &mut [f32],
) {
    let Some(first) = groups.first() else {
        assert!(q.is_empty() && out.is_empty(), "no groups, no rows");
        return;
    };
    let shape = first.cache.shape();
    let width = shape.heads * shape.each;
    let whole = q.len().is_multiple_of(width) && groups.iter().all(|g| g.rows <= q.len() / width);
    assert!(
        whole && groups.len() <= q.len(),
        "whole rows, and groups of some of them"
    );
    let rows: usize = groups.iter().map(|g| g.rows).sum();
    assert!(
        q.len() == rows * width && out.len() == q.len(),
        "{rows} rows in and out"
    );
    assert!(layer < shape.layers, "layer {layer} of {}", shape.layers);
    let to = Shared(out.as_mut_ptr());
    team.run(groups.len() * shape.heads, |task, _| {
        let (group, head) = (task / shape.heads, task % shape.heads);
        let skipped: usize = groups[..group].iter().map(|g| g.rows).sum();
        let looking = &groups[group];
        assert_eq!(looking.cache.shape(), shape, "caches of one shape");
        let at = skipped * width + head * shape.each;
        // SAFETY: every task writes the rows and columns of its own group and head.
        let out = unsafe { to.get().add(at) };
        look(isa, layer, head, looking, &q[at..], out);
    });
}

/// Attends with one head of one group.
fn look(isa: Isa, layer: usize, head: usize, looking: &Looking, q: &[f32], out: *mut f32) {
    each_tile(isa, layer, head, looking, q, |job, row, width| {
        job.out = out.wrapping_add(row * width);
        // SAFETY: the records are whole, the rows lie inside the output, and all that is seen is stored.
        unsafe { look_kernel(isa, job) };
    });
}

/// Returns the scaled scores `(rows, positions)` of one head before the softmax, in its natural base: what word timing
/// looks at. `q` are rows of `heads · each` columns.
///
/// # Panics
/// When rows are not whole, or there is no such layer or head.
pub fn head_scores(isa: Isa, cache: &KvCache, layer: usize, head: usize, q: &[f32]) -> Vec<f32> {
    let shape = cache.shape();
    let width = shape.heads * shape.each;
    assert!(q.len().is_multiple_of(width), "whole rows");
    let (rows, stored) = (q.len() / width, cache.blocks() * PANEL);
    let looking = Looking {
        cache,
        rows,
        first_sees: cache.len(),
        more: 0,
    };
    let mut all = vec![0.0; rows * stored];
    each_tile(
        isa,
        layer,
        head,
        &looking,
        &q[head * shape.each..],
        |job, row, _| {
            job.out = all[row * stored..].as_mut_ptr();
            job.width = stored;
            // SAFETY: the records are whole, and the output has room for the scores of every stored position.
            unsafe { score_kernel(isa, job) };
        },
    );
    let whole = all
        .chunks_exact(stored.max(1))
        .flat_map(|row| &row[..cache.len()]);
    whole
        .map(|score| score / std::f32::consts::LOG2_E)
        .collect()
}

/// Prepares up to [`ROWS`] rows of a head at a time; `q` begins at the head's first column. `work` gets the job, which lacks
/// its output, the first row, and the columns from row to row.
fn each_tile(
    isa: Isa,
    layer: usize,
    head: usize,
    looking: &Looking,
    q: &[f32],
    mut work: impl FnMut(&mut LookJob, usize, usize),
) {
    let shape = looking.cache.shape();
    let width = shape.heads * shape.each;
    let stride = shape.each.next_multiple_of(4);
    assert!(
        looking.cache.blocks() <= PLACES,
        "at most {} positions",
        PLACES * PANEL
    );
    let mut places = [std::ptr::null(); PLACES];
    for (place, record) in places.iter_mut().zip(looking.cache.records(layer, head)) {
        *place = record.as_ptr();
    }
    let mut bytes = [0u8; ROWS * MOST];
    for row in (0..looking.rows).step_by(ROWS) {
        let rows = (looking.rows - row).min(ROWS);
        let mut job = LookJob {
            places: places.as_ptr(),
            blocks: looking.cache.blocks(),
            q: std::ptr::null(),
            stride,
            rows,
            numbers: [(0.0, 0.0); ROWS],
            sees: [0; ROWS],
            keys: shape.keys(),
            scales: shape.record().0,
            wide: shape.wide(),
            each: shape.each,
            out: std::ptr::null_mut(),
            width,
        };
        for m in 0..rows {
            let q = &q[(row + m) * width..][..shape.each];
            job.numbers[m] = query(isa, q, &mut bytes[m * stride..][..stride]);
            let more = (row + m).saturating_mul(looking.more);
            job.sees[m] = looking.first_sees.saturating_add(more);
            let sees = 1..=job.blocks * PANEL;
            assert!(
                sees.contains(&job.sees[m]),
                "a row sees what is stored, and something"
            );
        }
        job.q = bytes.as_ptr();
        work(&mut job, row, width);
    }
}

/// Rows that are attended at once.
const ROWS: usize = 4;
/// Blocks that a cache may have: 16,384 positions, the longest context that a configuration may state.
const PLACES: usize = 256;

/// Quantises a query for the integer product; returns its scale, with the softmax's base and 1/√each in it, and its zero.
fn query(isa: Isa, q: &[f32], out: &mut [u8]) -> (f32, f32) {
    let (mut low, mut high) = (0.0f32, 0.0f32);
    for &x in q {
        low = low.min(x);
        high = high.max(x);
    }
    let range = high - low;
    if !q.iter().all(|x| x.is_finite()) || range.is_infinite() || range < LEAST {
        out.fill(0);
        return (0.0, 0.0);
    }
    let top = isa.top_activation();
    let per = top / range;
    let zero = (-low * per).round_ties_even();
    for (out, &x) in out.iter_mut().zip(q) {
        *out = ((x * per + zero).clamp(0.0, top) + 12_582_912.0).to_bits() as u8;
    }
    let softer = std::f32::consts::LOG2_E / (q.len() as f32).sqrt();
    (range / top * softer, zero)
}

#[derive(Clone, Copy)]
struct LookJob {
    /// The records of one layer and head, block by block.
    places: *const *const u8,
    blocks: usize,
    q: *const u8,
    stride: usize,
    rows: usize,
    /// Scale and zero of each row.
    numbers: [(f32, f32); ROWS],
    /// Positions that each row sees.
    sees: [usize; ROWS],
    /// Bytes of a record's keys, and before its scales.
    keys: usize,
    scales: usize,
    wide: usize,
    each: usize,
    out: *mut f32,
    width: usize,
}

kernel! {
    /// Attends from up to four rows to one head's records.
    look_kernel = look_body(&LookJob)
}

#[inline(always)]
unsafe fn look_body<A: Arch, const N: usize>(job: &LookJob) {
    // SAFETY: the caller's.
    unsafe { with_rows!(job.rows.min(ROWS), look_rows::<A, N>(job)) }
}

kernel! {
    /// Writes the scores of up to four rows, in base 2.
    score_kernel = score_body(&LookJob)
}

#[inline(always)]
unsafe fn score_body<A: Arch, const N: usize>(job: &LookJob) {
    // SAFETY: the caller's.
    unsafe { with_rows!(job.rows, score_rows::<A, N>(job)) }
}

#[inline(always)]
unsafe fn score_rows<A: Arch, const M: usize, const N: usize>(job: &LookJob) {
    for block in 0..job.blocks {
        let mut scores = [[0.0f32; PANEL]; M];
        // SAFETY: the caller's.
        unsafe {
            let record = *job.places.add(block);
            score::<A, M, N>(job, record, record, &mut scores);
            for (m, scores) in scores.iter().enumerate() {
                let out = job.out.add(m * job.width + block * PANEL);
                std::ptr::copy_nonoverlapping(scores.as_ptr(), out, PANEL);
            }
        }
    }
}

/// A softmax that is still being summed: the highest score, the sum of chances, and the values weighted by them.
#[derive(Clone, Copy)]
struct Running {
    top: f32,
    total: f32,
    values: [f32; MOST],
}

#[inline(always)]
unsafe fn look_rows<A: Arch, const M: usize, const N: usize>(job: &LookJob) {
    let mut running = [Running {
        top: f32::NEG_INFINITY,
        total: 0.0,
        values: [0.0; MOST],
    }; M];
    let sees = job.sees[M - 1].max(job.sees[0]);
    // SAFETY: the caller's.
    unsafe {
        for block in 0..sees.div_ceil(PANEL) {
            let record = *job.places.add(block);
            let next = *job.places.add((block + 1).min(job.blocks - 1));
            let mut scores = [[0.0f32; PANEL]; M];
            score::<A, M, N>(job, record, next, &mut scores);
            let mut chances = [[0u8; PANEL]; M];
            let mut scales = [0.0; M];
            for m in 0..M {
                let seen = job.sees[m].saturating_sub(block * PANEL).min(PANEL);
                scores[m][seen..].fill(f32::NEG_INFINITY);
                let values = record.add(job.scales).cast::<f32>().add(2 * PANEL);
                if seen > 0 {
                    scales[m] = weigh::<A>(
                        &mut scores[m],
                        values,
                        &mut running[m],
                        job.each,
                        &mut chances[m],
                    );
                }
            }
            gather::<A, M, N>(job, record, next, &chances, &scales, &mut running);
        }
        for (m, running) in running.iter().enumerate() {
            let whole = A::splat(1.0 / running.total);
            for at in (0..job.each).step_by(A::LANES) {
                let x = A::mul(A::load(running.values.as_ptr().add(at)), whole);
                write::<A>(x, job.out.add(m * job.width + at), job.each - at);
            }
        }
    }
}

/// The scores of 64 positions, for `M` rows.
#[inline(always)]
unsafe fn score<A: Arch, const M: usize, const N: usize>(
    job: &LookJob,
    record: *const u8,
    next: *const u8,
    scores: &mut [[f32; PANEL]; M],
) {
    // SAFETY: the caller's.
    unsafe {
        let scales = record.add(job.scales).cast::<f32>();
        for line in (0..3 * PANEL * size_of::<f32>()).step_by(LINE) {
            A::prefetch(next.wrapping_add(job.scales + line));
        }
        for part in (0..PANEL).step_by(N * A::LANES) {
            let [k, next] = [record, next].map(|record| record.wrapping_add(part * 4));
            let sums = int8_sums::<A, M, N>(job.stride / 4, job.q, job.stride, k, next);
            for (m, sums) in sums.into_iter().enumerate() {
                let (scale, zero) = job.numbers[m];
                for (n, sum) in sums.into_iter().enumerate() {
                    let at = part + n * A::LANES;
                    let x = A::mul(A::to_f32(sum), A::load(scales.add(at)));
                    let x = A::fma(A::splat(-zero), A::load(scales.add(PANEL + at)), x);
                    A::store(scores[m].as_mut_ptr().add(at), A::mul(x, A::splat(scale)));
                }
            }
        }
    }
}

/// Turns one row's scores into chances, brings what is summed to the same top, and quantises the chances times the values'
/// scales; returns the scale of that.
#[inline(always)]
unsafe fn weigh<A: Arch>(
    scores: &mut [f32; PANEL],
    values: *const f32,
    running: &mut Running,
    each: usize,
    out: &mut [u8; PANEL],
) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let mut top = A::splat(running.top);
        for at in (0..PANEL).step_by(A::LANES) {
            top = A::max(top, A::load(scores.as_ptr().add(at)));
        }
        let highest = A::highest(top);
        if highest > running.top {
            let mut shrink = [0.0f32; 16];
            A::store(
                shrink.as_mut_ptr(),
                exp2::<A, 5>(A::splat(running.top - highest)),
            );
            let shrink = if running.total > 0.0 { shrink[0] } else { 0.0 };
            for at in (0..each).step_by(A::LANES) {
                let value = running.values.as_mut_ptr().add(at);
                A::store(value, A::mul(A::load(value), A::splat(shrink)));
            }
            running.total *= shrink;
            running.top = highest;
        }
        let (top, mut sum, mut most) = (A::splat(running.top), A::splat(0.0), A::splat(0.0));
        for at in (0..PANEL).step_by(A::LANES) {
            let score = scores.as_mut_ptr().add(at);
            let chance = exp2::<A, 5>(A::sub(A::load(score), top));
            sum = A::add(sum, chance);
            let weighted = A::mul(chance, A::load(values.add(at)));
            most = A::max(most, weighted);
            A::store(score, weighted);
        }
        running.total += A::sum(sum);
        let most = A::highest(most);
        if most <= f32::MIN_POSITIVE {
            return 0.0;
        }
        let per = A::splat(A::TOP / most);
        for at in (0..PANEL).step_by(A::LANES) {
            let x = A::mul(A::load(scores.as_ptr().add(at)), per);
            A::store_u8(out.as_mut_ptr().add(at), A::min(x, A::splat(A::TOP)));
        }
        most / A::TOP
    }
}

/// Adds the values of 64 positions, weighted, for `M` rows.
#[inline(always)]
unsafe fn gather<A: Arch, const M: usize, const N: usize>(
    job: &LookJob,
    record: *const u8,
    next: *const u8,
    chances: &[[u8; PANEL]; M],
    scales: &[f32; M],
    running: &mut [Running; M],
) {
    // SAFETY: the caller's.
    unsafe {
        let p = chances.as_ptr().cast::<u8>();
        for column in (0..job.each).step_by(N * A::LANES) {
            // Values of heads wider than a panel lie further apart: those are gathered group by group.
            let groups = if job.wide == PANEL { PANEL / 4 } else { 1 };
            for group in (0..PANEL / 4).step_by(groups) {
                let at = job.keys + group * 4 * job.wide + column * 4;
                let [v, next] = [record, next].map(|record| record.wrapping_add(at));
                let sums = int8_sums::<A, M, N>(groups, p.add(group * 4), PANEL, v, next);
                for (m, sums) in sums.into_iter().enumerate() {
                    for (n, sum) in sums.into_iter().enumerate() {
                        let value = running[m].values.as_mut_ptr().add(column + n * A::LANES);
                        let x = A::fma(A::to_f32(sum), A::splat(scales[m]), A::load(value));
                        A::store(value, x);
                    }
                }
            }
        }
    }
}
