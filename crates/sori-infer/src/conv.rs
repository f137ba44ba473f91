//! Convolutions in f32, channels last: over time ([`Conv1d`]) and over pictures ([`Conv2d`]), as matrix products.

use rayon::prelude::*;
use rten_tensor::{Matrix, NdTensorView};

use crate::linear::{Keep, Linear};
use crate::winograd::Winograd;

/// Outputs of a time convolution that one thread computes at once.
const ROWS: usize = 512;

/// Shape of a time convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv1dShape {
    /// Channels of the input.
    pub inputs: usize,
    /// Frames that an output sees.
    pub kernel: usize,
    /// Frames from one output to the next.
    pub stride: usize,
    /// Frames from one that an output sees to the next; 1 for neighbours.
    pub dilation: usize,
    /// Frames of zeros before and after the input.
    pub padding: usize,
}

impl Conv1dShape {
    /// Every output sees `kernel` neighbours; no zeros around the input.
    pub fn new(inputs: usize, kernel: usize) -> Self {
        Self {
            inputs,
            kernel,
            stride: 1,
            dilation: 1,
            padding: 0,
        }
    }
}

/// A convolution over time, as `torch.nn.Conv1d`.
pub struct Conv1d {
    shape: Conv1dShape,
    /// One product over all frames that an output sees, or one for each where they are apart.
    products: Vec<Linear>,
}

impl Conv1d {
    /// Packs a weight of shape `(outputs, inputs, kernel)`, row-major, as PyTorch stores it.
    ///
    /// # Panics
    /// When the weight is not a multiple of `inputs × kernel` long, or the bias not of its outputs: the loader has checked that.
    pub fn new(weight: &[f32], shape: Conv1dShape, bias: Option<Vec<f32>>) -> Self {
        let Conv1dShape { inputs, kernel, .. } = shape;
        let taps = |taps: std::ops::Range<usize>| -> Vec<f32> {
            weight
                .chunks_exact(inputs * kernel)
                .flat_map(|filter| {
                    let taps = taps.clone();
                    taps.flat_map(move |k| (0..inputs).map(move |c| filter[c * kernel + k]))
                })
                .collect()
        };
        let mut bias = Some(bias);
        let products = if shape.dilation == 1 {
            vec![Linear::new(
                &taps(0..kernel),
                inputs * kernel,
                bias.take().flatten(),
            )]
        } else {
            (0..kernel)
                .map(|k| Linear::new(&taps(k..k + 1), inputs, bias.take().flatten()))
                .collect()
        };
        Self { shape, products }
    }

    /// Columns of the output.
    pub fn outputs(&self) -> usize {
        self.products[0].outputs()
    }

    /// Frames of the output for `frames` frames of input.
    pub fn frames(&self, frames: usize) -> usize {
        let seen = (self.shape.kernel - 1) * self.shape.dilation + 1;
        match (frames + 2 * self.shape.padding).checked_sub(seen) {
            Some(rest) => rest / self.shape.stride + 1,
            None => 0,
        }
    }

    /// The output `(frames, outputs)` for `input` `(frames, inputs)`; blocks of frames run on several threads.
    pub fn forward(&self, input: &[f32]) -> Vec<f32> {
        let Conv1dShape {
            inputs, padding, ..
        } = self.shape;
        if padding == 0 {
            return self.inside(input);
        }
        let mut padded = vec![0.0; input.len() + 2 * padding * inputs];
        padded[padding * inputs..][..input.len()].copy_from_slice(input);
        self.inside(&padded)
    }

    /// The output at the places where nothing but `input` is seen.
    fn inside(&self, input: &[f32]) -> Vec<f32> {
        let Conv1dShape {
            inputs,
            stride,
            dilation,
            padding,
            ..
        } = self.shape;
        let frames = self.frames(input.len() / inputs - 2 * padding);
        let outputs = self.outputs();
        let mut out = vec![0.0; frames * outputs];
        let hop = stride * inputs;
        out.par_chunks_mut(ROWS * outputs)
            .enumerate()
            .for_each(|(block, out)| {
                for (tap, product) in self.products.iter().enumerate() {
                    // Rows may overlap: each starts one hop after the one before it.
                    let view: Matrix<f32> = NdTensorView::from_slice_with_strides(
                        [out.len() / outputs, product.inputs()],
                        &input[block * ROWS * hop + tap * dilation * inputs..],
                        [hop, 1],
                    )
                    .expect("the last row ends inside the input");
                    let keep = match tap {
                        0 => Keep::Nothing,
                        _ => Keep::Output,
                    };
                    product.multiply(view, keep, out);
                }
            });
        out
    }
}

/// A picture or feature map, channels last.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values per point.
    pub channels: usize,
    /// The values `(height, width, channels)`, row-major.
    pub data: Vec<f32>,
}

/// What happens to the sums of a picture convolution.
#[derive(Clone, Copy, Debug)]
pub enum Then<'a> {
    /// Nothing.
    Keep,
    /// Negative ones become zero.
    Relu,
    /// A picture of the same shape is added, then negative ones become zero: the end of a residual block.
    AddRelu(&'a Picture),
}

/// Shape of a picture convolution with a square kernel and half a kernel of zeros around the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels of the input.
    pub inputs: usize,
    /// Side of the kernel: 1 or 3.
    pub kernel: usize,
    /// Rows from one output to the next.
    pub stride_down: usize,
    /// Columns from one output to the next.
    pub stride_right: usize,
}

/// A picture convolution, as `torch.nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)` with a bias.
///
/// 3 × 3 kernels of stride 1 run by Winograd's method, which needs a quarter of the multiplications; others gather each
/// output's inputs into a row of a matrix.
pub struct Conv2d {
    shape: ConvShape,
    way: Way,
}

enum Way {
    Winograd(Winograd),
    Gather(Linear),
}

/// Fewest input channels with which Winograd's method wins.
const WINOGRAD_INPUTS: usize = 8;

impl Conv2d {
    /// Prepares a weight of shape `(outputs, inputs, kernel, kernel)`, row-major, as PyTorch stores it.
    ///
    /// # Panics
    /// When the weight or the bias is not as long as the shape says: the loader has checked that.
    pub fn new(weight: &[f32], shape: ConvShape, bias: Vec<f32>) -> Self {
        let ConvShape { inputs, kernel, .. } = shape;
        let area = kernel * kernel;
        assert_eq!(weight.len(), bias.len() * inputs * area);
        let same = (shape.stride_down, shape.stride_right) == (1, 1);
        let way = if kernel == 3 && same && inputs >= WINOGRAD_INPUTS {
            Way::Winograd(Winograd::new(weight, inputs, bias))
        } else {
            let turned: Vec<f32> = weight
                .chunks_exact(inputs * area)
                .flat_map(|filter| {
                    (0..area).flat_map(move |at| (0..inputs).map(move |c| filter[c * area + at]))
                })
                .collect();
            Way::Gather(Linear::new(&turned, inputs * area, Some(bias)))
        };
        Self { shape, way }
    }

    /// The convolved picture; parts of it are computed on several threads. Allocates the result.
    ///
    /// # Panics
    /// When `input` or the picture to add has other channels or sides than this convolution.
    pub fn forward(&self, input: &Picture, then: Then) -> Picture {
        assert_eq!(input.channels, self.shape.inputs);
        match &self.way {
            Way::Winograd(winograd) => winograd.forward(input, then),
            Way::Gather(linear) => gather(linear, self.shape, input, then),
        }
    }
}

/// Convolves by writing the inputs of a row of outputs side by side and multiplying them with the weights.
fn gather(linear: &Linear, shape: ConvShape, input: &Picture, then: Then) -> Picture {
    let channels = linear.outputs();
    let width = input.width.div_ceil(shape.stride_right);
    let height = input.height.div_ceil(shape.stride_down);
    let mut out = Picture {
        height,
        width,
        channels,
        data: vec![0.0; height * width * channels],
    };
    if let Then::AddRelu(other) = then {
        assert_eq!(other.data.len(), out.data.len());
    }
    let row = width * channels;
    let columns = linear.inputs();
    out.data.par_chunks_mut(row).enumerate().for_each_init(
        || vec![0.0; width * columns],
        |gathered, (y, out)| {
            for (x, point) in gathered.chunks_exact_mut(columns).enumerate() {
                take(
                    input,
                    shape,
                    (y * shape.stride_down, x * shape.stride_right),
                    point,
                );
            }
            let view = NdTensorView::from_data([width, columns], gathered.as_slice());
            linear.multiply(view, Keep::Nothing, out);
            match then {
                Then::Keep => {}
                Then::Relu => out.iter_mut().for_each(|v| *v = v.max(0.0)),
                Then::AddRelu(other) => {
                    for (v, add) in out.iter_mut().zip(&other.data[y * row..]) {
                        *v = (*v + add).max(0.0);
                    }
                }
            }
        },
    );
    out
}

/// Copies the inputs around a point of the picture, zeros where they lie outside.
fn take(input: &Picture, shape: ConvShape, (y, x): (usize, usize), point: &mut [f32]) {
    let pad = shape.kernel / 2;
    let spots =
        (0..shape.kernel).flat_map(|down| (0..shape.kernel).map(move |right| (down, right)));
    for ((down, right), values) in spots.zip(point.chunks_exact_mut(input.channels)) {
        let (row, column) = ((y + down).wrapping_sub(pad), (x + right).wrapping_sub(pad));
        if row < input.height && column < input.width {
            let from = (row * input.width + column) * input.channels;
            values.copy_from_slice(&input.data[from..from + input.channels]);
        } else {
            values.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, frequency: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * frequency).sin()).collect()
    }

    fn worst(found: &[f32], want: &[f32]) -> f32 {
        assert_eq!(found.len(), want.len());
        let size = want.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
        found
            .iter()
            .zip(want)
            .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()))
            / size
    }

    #[test]
    fn time_convolutions_equal_plain_loops() {
        for (frames, inputs, outputs, kernel, (stride, dilation, padding)) in [
            (4, 1, 1, 5, (1, 1, 0)),
            (20, 1, 7, 5, (3, 1, 0)),
            (700, 6, 9, 5, (1, 1, 0)),
            (7000, 1, 3, 251, (10, 1, 0)),
            (21, 6, 9, 5, (2, 1, 2)),
            (700, 6, 9, 3, (1, 2, 2)),
            (1, 2, 1, 3, (1, 2, 2)),
        ] {
            let (x, w, b) = (
                wave(frames * inputs, 0.3),
                wave(outputs * inputs * kernel, 0.7),
                wave(outputs, 1.0),
            );
            let shape = Conv1dShape {
                inputs,
                kernel,
                stride,
                dilation,
                padding,
            };
            let conv = Conv1d::new(&w, shape, Some(b.clone()));
            let mut want = Vec::new();
            let last = (frames + 2 * padding).saturating_sub((kernel - 1) * dilation);
            for t in (0..last).step_by(stride) {
                for o in 0..outputs {
                    let mut sum = b[o];
                    for (c, k) in (0..inputs).flat_map(|c| (0..kernel).map(move |k| (c, k))) {
                        let at = (t + k * dilation).wrapping_sub(padding);
                        if at < frames {
                            sum += w[(o * inputs + c) * kernel + k] * x[at * inputs + c];
                        }
                    }
                    want.push(sum);
                }
            }
            let found = conv.forward(&x);
            assert_eq!(found.len(), conv.frames(frames) * outputs);
            assert!(want.is_empty() || worst(&found, &want) < 1e-5);
        }
    }

    /// The sums of `torch.nn.Conv2d`, one by one.
    fn plain(
        input: &Picture,
        w: &[f32],
        b: &[f32],
        s: ConvShape,
        add: Option<&Picture>,
    ) -> Vec<f32> {
        let pad = s.kernel / 2;
        let mut out = Vec::new();
        for y in (0..input.height).step_by(s.stride_down) {
            for x in (0..input.width).step_by(s.stride_right) {
                for (o, bias) in b.iter().enumerate() {
                    let mut sum = f64::from(*bias);
                    for (c, i, j) in (0..s.inputs).flat_map(|c| {
                        (0..s.kernel).flat_map(move |i| (0..s.kernel).map(move |j| (c, i, j)))
                    }) {
                        let (row, column) = ((y + i).wrapping_sub(pad), (x + j).wrapping_sub(pad));
                        if row < input.height && column < input.width {
                            let v = input.data[(row * input.width + column) * s.inputs + c];
                            let w = w[((o * s.inputs + c) * s.kernel + i) * s.kernel + j];
                            sum += f64::from(v) * f64::from(w);
                        }
                    }
                    out.push(sum as f32);
                }
            }
        }
        if let Some(add) = add {
            out.iter_mut()
                .zip(&add.data)
                .for_each(|(v, add)| *v = (*v + add).max(0.0));
        }
        out
    }

    #[test]
    fn pictures_equal_plain_loops_at_odd_sizes() {
        let square = |stride| (stride, stride);
        for (height, width, inputs, outputs, kernel, (down, right)) in [
            (1, 1, 1, 1, 3, square(1)),
            (9, 7, 1, 8, 3, square(1)),
            (9, 7, 8, 5, 3, square(1)),
            (4, 5, 16, 16, 3, square(1)),
            (61, 40, 24, 33, 3, square(1)),
            (11, 80, 32, 32, 3, square(1)),
            (9, 7, 6, 5, 3, square(2)),
            (9, 8, 6, 5, 1, square(2)),
            (9, 8, 16, 5, 3, (2, 1)),
        ] {
            let s = ConvShape {
                inputs,
                kernel,
                stride_down: down,
                stride_right: right,
            };
            let input = Picture {
                height,
                width,
                channels: inputs,
                data: wave(height * width * inputs, 0.61),
            };
            let (w, b) = (
                wave(outputs * inputs * kernel * kernel, 0.77),
                wave(outputs, 0.3),
            );
            let conv = Conv2d::new(&w, s, b.clone());
            let found = conv.forward(&input, Then::Keep);
            let want = plain(&input, &w, &b, s, None);
            let label = format!("{height}x{width} {inputs}-{outputs} {s:?}");
            let off = worst(&found.data, &want);
            assert!(off < 2e-5, "{label}: {off}");
            let relu = conv.forward(&input, Then::Relu);
            let positive: Vec<f32> = want.iter().map(|v| v.max(0.0)).collect();
            assert!(worst(&relu.data, &positive) < 2e-5, "{label} relu");
            let mut add = found.clone();
            add.data = wave(add.data.len(), 0.9);
            let sum = conv.forward(&input, Then::AddRelu(&add));
            assert!(
                worst(&sum.data, &plain(&input, &w, &b, s, Some(&add))) < 2e-5,
                "{label} add"
            );
        }
    }
}
