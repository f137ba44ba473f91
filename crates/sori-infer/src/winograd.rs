//! 3 × 3 convolutions by Winograd's minimal filtering, F(4 × 4, 3 × 3) (Lavin & Gray 2015, arXiv 1509.09308): 36
//! multiplications for 16 outputs instead of 144.
//!
//! The picture is cut into tiles of 4 × 4 outputs, which see 6 × 6 inputs. A transform of the tiles, one of the filters
//! (done once) and one of the products turn the convolution into 36 independent matrix products of
//! `(tiles, inputs) × (inputs, outputs)`.

use rayon::prelude::*;
use rten_simd::ops::{BitOps, FloatOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp};
use rten_tensor::NdTensorView;

use crate::conv::{Picture, Then};
use crate::linear::{Keep, Linear};

/// Outputs along a side of a tile.
const TILE: usize = 4;
/// Inputs along a side of a tile.
const SIDE: usize = 6;
/// Fewest tiles that are worked on at once, so that a matrix product has rows enough, while its operands stay in a core's
/// second cache.
const TILES: usize = 48;

/// Filters of a convolution, transformed: 36 matrices.
pub(crate) struct Winograd {
    inputs: usize,
    bias: Vec<f32>,
    products: Vec<Linear>,
}

/// The filters' transform, `G` of the paper.
const FILTER: [[f64; 3]; SIDE] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

impl Winograd {
    /// Transforms a weight of shape `(bias.len(), inputs, 3, 3)`.
    pub(crate) fn new(weight: &[f32], inputs: usize, bias: Vec<f32>) -> Self {
        let products = (0..SIDE * SIDE)
            .map(|at| {
                let (down, right) = (FILTER[at / SIDE], FILTER[at % SIDE]);
                let turned: Vec<f32> = weight
                    .chunks_exact(9)
                    .map(|filter| {
                        let sum: f64 = (0..9)
                            .map(|i| down[i / 3] * right[i % 3] * f64::from(filter[i]))
                            .sum();
                        sum as f32
                    })
                    .collect();
                Linear::new(&turned, inputs, None)
            })
            .collect();
        Self {
            inputs,
            bias,
            products,
        }
    }

    /// The convolved picture, as [`Conv2d::forward`](crate::conv::Conv2d::forward) says.
    pub(crate) fn forward(&self, input: &Picture, then: Then) -> Picture {
        let channels = self.bias.len();
        let (height, width) = (input.height, input.width);
        let mut out = Picture {
            height,
            width,
            channels,
            data: vec![0.0; height * width * channels],
        };
        if let Then::AddRelu(other) = then {
            assert_eq!(other.data.len(), out.data.len());
        }
        let across = width.div_ceil(TILE);
        let down = height.div_ceil(TILE);
        let strip = TILES
            .div_ceil(across.max(1))
            .min(down.div_ceil(rayon::current_num_threads()))
            .max(1);
        let tiles = strip * across;
        out.data
            .par_chunks_mut((strip * TILE * width * channels).max(1))
            .enumerate()
            .for_each_init(
                || {
                    let square = SIDE * SIDE * tiles;
                    (
                        vec![0.0; square * self.inputs],
                        vec![0.0; square * channels],
                    )
                },
                |(seen, sums), (index, out)| {
                    let rows = out.len() / (width * channels);
                    let tiles = rows.div_ceil(TILE) * across;
                    let top = index * strip * TILE;
                    let place = Place { top, across, tiles };
                    let seen = &mut seen[..SIDE * SIDE * tiles * self.inputs];
                    let sums = &mut sums[..SIDE * SIDE * tiles * channels];
                    See { input, place, seen }.dispatch();
                    let each = seen
                        .chunks_exact(tiles * self.inputs)
                        .zip(sums.chunks_exact_mut(tiles * channels));
                    for (product, (seen, sums)) in self.products.iter().zip(each) {
                        let view = NdTensorView::from_data([tiles, self.inputs], seen);
                        product.multiply(view, Keep::Nothing, sums);
                    }
                    let from = top * width * channels;
                    Show {
                        sums,
                        place,
                        bias: &self.bias,
                        add: match then {
                            Then::AddRelu(other) => Some(&other.data[from..from + out.len()]),
                            _ => None,
                        },
                        relu: !matches!(then, Then::Keep),
                        width,
                        out,
                    }
                    .dispatch();
                },
            );
        out
    }
}

/// A block of tiles: whole rows of them.
#[derive(Clone, Copy)]
struct Place {
    /// First row of the picture.
    top: usize,
    /// Tiles in a row.
    across: usize,
    /// Tiles in the block.
    tiles: usize,
}

/// The values at the start of `xs`, zeros where it is too short for a vector.
#[inline(always)]
fn get<F: NumOps<f32>>(f: F, xs: &[f32]) -> F::Simd {
    if xs.len() >= f.len() {
        f.load(xs)
    } else {
        f.load_pad(xs).0
    }
}

/// Writes a vector to the start of `xs`, as much as fits.
#[inline(always)]
fn put<F: NumOps<f32>>(f: F, x: F::Simd, xs: &mut [f32]) {
    if xs.len() >= f.len() {
        f.store(x, xs);
    } else {
        let values = x.to_array();
        let count = xs.len();
        xs.copy_from_slice(&values.as_ref()[..count]);
    }
}

/// Transforms the inputs of a block of tiles to 36 matrices `(tiles, channels)`.
struct See<'a> {
    input: &'a Picture,
    place: Place,
    seen: &'a mut [f32],
}

impl SimdOp for See<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let f = isa.f32();
        let Picture {
            height,
            width,
            channels,
            data,
        } = self.input;
        let (height, width, channels) = (*height, *width, *channels);
        let matrix = self.place.tiles * channels;
        for tile in 0..self.place.tiles {
            let y = self.place.top + tile / self.place.across * TILE;
            let x = tile % self.place.across * TILE;
            let mut channel = 0;
            while channel < channels {
                // Columns of the tile whose lines are transformed.
                let mut columns = [[f.zero(); SIDE]; SIDE];
                for i in 0..SIDE {
                    let row = (y + i).wrapping_sub(1);
                    if row >= height {
                        continue;
                    }
                    let mut line = [f.zero(); SIDE];
                    for (j, value) in line.iter_mut().enumerate() {
                        let column = (x + j).wrapping_sub(1);
                        if column < width {
                            let point = (row * width + column) * channels;
                            *value = get(f, &data[point + channel..point + channels]);
                        }
                    }
                    for (column, value) in columns.iter_mut().zip(see(f, line)) {
                        column[i] = value;
                    }
                }
                for (j, column) in columns.into_iter().enumerate() {
                    for (i, value) in see(f, column).into_iter().enumerate() {
                        let row = (i * SIDE + j) * matrix + tile * channels;
                        put(f, value, &mut self.seen[row + channel..row + channels]);
                    }
                }
                channel += f.len();
            }
        }
    }
}

/// The inputs' transform along one axis, `Bᵀ` of the paper.
#[inline(always)]
fn see<F: FloatOps<f32>>(f: F, d: [F::Simd; SIDE]) -> [F::Simd; SIDE] {
    let [d0, d1, d2, d3, d4, d5] = d;
    let times = |x, k: f32| f.mul(x, f.splat(k));
    let even = f.sub(d4, times(d2, 4.0));
    let odd = f.sub(d3, times(d1, 4.0));
    let outer = f.sub(d4, d2);
    let inner = times(f.sub(d3, d1), 2.0);
    [
        f.add(f.sub(times(d0, 4.0), times(d2, 5.0)), d4),
        f.add(even, odd),
        f.sub(even, odd),
        f.add(outer, inner),
        f.sub(outer, inner),
        f.add(f.sub(times(d1, 4.0), times(d3, 5.0)), d5),
    ]
}

/// Transforms 36 matrices `(tiles, channels)` of products to outputs and finishes them.
struct Show<'a> {
    sums: &'a [f32],
    place: Place,
    bias: &'a [f32],
    add: Option<&'a [f32]>,
    relu: bool,
    width: usize,
    out: &'a mut [f32],
}

impl SimdOp for Show<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let f = isa.f32();
        let channels = self.bias.len();
        let rows = self.out.len() / (self.width * channels);
        let matrix = self.place.tiles * channels;
        for tile in 0..self.place.tiles {
            let y = tile / self.place.across * TILE;
            let x = tile % self.place.across * TILE;
            let mut channel = 0;
            while channel < channels {
                let bias = get(f, &self.bias[channel..]);
                // Columns of the tile whose lines are transformed.
                let mut columns = [[f.zero(); SIDE]; TILE];
                for i in 0..SIDE {
                    let mut line = [f.zero(); SIDE];
                    for (j, value) in line.iter_mut().enumerate() {
                        let row = (i * SIDE + j) * matrix + tile * channels;
                        *value = get(f, &self.sums[row + channel..row + channels]);
                    }
                    for (column, value) in columns.iter_mut().zip(show(f, line)) {
                        column[i] = value;
                    }
                }
                for (j, column) in columns.into_iter().enumerate().take(self.width - x) {
                    let column = show(f, column);
                    for (i, value) in column.into_iter().enumerate().take(rows - y) {
                        let point = ((y + i) * self.width + x + j) * channels;
                        let spot = point + channel..point + channels;
                        let mut value = f.add(value, bias);
                        if let Some(add) = self.add {
                            value = f.add(value, get(f, &add[spot.clone()]));
                        }
                        if self.relu {
                            value = f.max(value, f.zero());
                        }
                        put(f, value, &mut self.out[spot]);
                    }
                }
                channel += f.len();
            }
        }
    }
}

/// The products' transform along one axis, `Aᵀ` of the paper.
#[inline(always)]
fn show<F: FloatOps<f32>>(f: F, m: [F::Simd; SIDE]) -> [F::Simd; TILE] {
    let [m0, m1, m2, m3, m4, m5] = m;
    let times = |x, k: f32| f.mul(x, f.splat(k));
    let (sum, difference) = (f.add(m1, m2), f.sub(m1, m2));
    let (outer, slope) = (f.add(m3, m4), f.sub(m3, m4));
    [
        f.add(f.add(m0, sum), outer),
        f.add(difference, times(slope, 2.0)),
        f.add(sum, times(outer, 4.0)),
        f.add(f.add(difference, times(slope, 8.0)), m5),
    ]
}
